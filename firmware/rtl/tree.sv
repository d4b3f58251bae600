// N_OUT sums of N_IN weighted numbers and a bias where only whole turns of the accumulator are ever lost,
// so that the order does not matter: ceil(log4 N_IN) clocks.
module tree #(
    parameter int N_IN = 1,
    parameter int N_OUT = 1,
    parameter int X_WIDTH = 1,
    parameter bit X_SIGNED = 0,
    parameter int WEIGHT_WIDTH = 1,
    parameter bit [N_IN*N_OUT*WEIGHT_WIDTH-1:0] WEIGHTS = '0,
    parameter int SUM_WIDTH = 1,  // of the weighted numbers alone
    parameter int UP = 0,  // fractional bits that the accumulator has more than they
    parameter int Y_WIDTH = 1
) (
    input  logic clk,
    input  logic [N_IN*X_WIDTH-1:0] x,
    input  logic [N_OUT*Y_WIDTH-1:0] biases,  // of the event that leaves
    output logic [N_OUT*Y_WIDTH-1:0] y
);
    generate
        for (genvar o = 0; o < N_OUT; o++) begin : column
            wire [N_IN*SUM_WIDTH-1:0] products;
            for (genvar i = 0; i < N_IN; i++) begin : row
                localparam bit signed [WEIGHT_WIDTH-1:0] WEIGHT = WEIGHTS[(i*N_OUT+o)*WEIGHT_WIDTH+:WEIGHT_WIDTH];
                wire [X_WIDTH-1:0] a = x[i*X_WIDTH+:X_WIDTH];
                wire signed [SUM_WIDTH-1:0] wide = SUM_WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
                assign products[i*SUM_WIDTH+:SUM_WIDTH] = wide * SUM_WIDTH'(WEIGHT);
            end
            wire [SUM_WIDTH-1:0] sum;
            total #(.N(N_IN), .WIDTH(SUM_WIDTH)) rows (.clk(clk), .x(products), .y(sum));
            assign y[o*Y_WIDTH+:Y_WIDTH] = (Y_WIDTH'($signed(sum)) <<< UP) + biases[o*Y_WIDTH+:Y_WIDTH];
        end
    endgenerate
endmodule
