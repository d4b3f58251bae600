// The sum of N numbers modulo 2^WIDTH, four at a time: ceil(log4 N) clocks.
module total #(
    parameter int N = 1,
    parameter int WIDTH = 1
) (
    // One number needs no clock.
    // verilator lint_off UNUSEDSIGNAL
    input  logic clk,
    // verilator lint_on UNUSEDSIGNAL
    input  logic [N*WIDTH-1:0] x,
    output logic [WIDTH-1:0] y
);
    localparam int GROUPS = (N + 3) / 4;

    generate
        if (N == 1) begin : one
            assign y = x;
        end else begin : several
            wire [4*GROUPS*WIDTH-1:0] padded = (4 * GROUPS * WIDTH)'(x);
            wire [GROUPS*WIDTH-1:0] sums;
            for (genvar g = 0; g < GROUPS; g++) begin : group
                logic [WIDTH-1:0] sum;
                always_ff @(posedge clk)
                    sum <= padded[(4*g)*WIDTH+:WIDTH] + padded[(4*g+1)*WIDTH+:WIDTH]
                         + padded[(4*g+2)*WIDTH+:WIDTH] + padded[(4*g+3)*WIDTH+:WIDTH];
                assign sums[g*WIDTH+:WIDTH] = sum;
            end
            total #(.N(GROUPS), .WIDTH(WIDTH)) rest (.clk(clk), .x(sums), .y(y));
        end
    endgenerate
endmodule
