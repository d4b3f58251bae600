// N_OUT sums of N_IN numbers with the weights of registers, and biases, where only whole turns of the accumulator
// are ever lost, so that the order does not matter: 1 + ceil(log4 N_IN) clocks.
module weigh #(
    parameter int N_IN = 1,
    parameter int N_OUT = 1,
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int WEIGHT_WIDTH = 1,
    parameter int WEIGHT_FRAC = 0,
    parameter bit WEIGHT_SIGNED = 0,
    parameter int BIAS_WIDTH = 1,
    parameter int BIAS_FRAC = 0,
    parameter bit BIAS_SIGNED = 0,
    parameter int SUM_WIDTH = 1,  // of the weighted numbers alone
    parameter int Y_WIDTH = 1,
    parameter int Y_FRAC = 0,
    parameter bit Y_SIGNED = 0,
    parameter bit [87:0] Y_ROUNDING = "TRN",
    parameter bit [63:0] Y_OVERFLOW = "WRAP"
) (
    input  logic clk,
    input  logic [N_IN*X_WIDTH-1:0] x,
    input  logic [N_IN*N_OUT*WEIGHT_WIDTH-1:0] weights,
    input  logic [N_OUT*BIAS_WIDTH-1:0] biases,  // of the event that leaves
    output logic [N_OUT*Y_WIDTH-1:0] y
);
    localparam int UP = Y_FRAC - X_FRAC - WEIGHT_FRAC;
    localparam int EXACT = X_WIDTH + WEIGHT_WIDTH + 1;
    localparam int PRODUCT_WIDTH = EXACT < SUM_WIDTH ? EXACT : SUM_WIDTH;

    generate
        for (genvar o = 0; o < N_OUT; o++) begin : column
            wire [N_IN*SUM_WIDTH-1:0] products;
            for (genvar i = 0; i < N_IN; i++) begin : row
                wire [X_WIDTH-1:0] a = x[i*X_WIDTH+:X_WIDTH];
                wire [WEIGHT_WIDTH-1:0] b = weights[(i*N_OUT+o)*WEIGHT_WIDTH+:WEIGHT_WIDTH];
                wire signed [PRODUCT_WIDTH-1:0] wide_a = PRODUCT_WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
                wire signed [PRODUCT_WIDTH-1:0] wide_b =
                    PRODUCT_WIDTH'($signed({WEIGHT_SIGNED && b[WEIGHT_WIDTH-1], b}));
                logic signed [PRODUCT_WIDTH-1:0] product;
                always_ff @(posedge clk) product <= wide_a * wide_b;
                assign products[i*SUM_WIDTH+:SUM_WIDTH] = SUM_WIDTH'(product);
            end
            wire [SUM_WIDTH-1:0] sum;
            total #(.N(N_IN), .WIDTH(SUM_WIDTH)) rows (.clk(clk), .x(products), .y(sum));
            wire [Y_WIDTH-1:0] bias;
            cast #(
                .X_WIDTH(BIAS_WIDTH), .X_FRAC(BIAS_FRAC), .X_SIGNED(BIAS_SIGNED), .Y_WIDTH(Y_WIDTH), .Y_FRAC(Y_FRAC),
                .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
            ) cast_bias (.x(biases[o*BIAS_WIDTH+:BIAS_WIDTH]), .y(bias));
            assign y[o*Y_WIDTH+:Y_WIDTH] = (Y_WIDTH'($signed(sum)) <<< UP) + bias;
        end
    endgenerate
endmodule
