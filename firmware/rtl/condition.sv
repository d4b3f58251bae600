// The biases of N_OUT sums, as they are accumulated, with N_IN weighted numbers from registers in them: 1 clock.
module condition #(
    parameter int N_IN = 1,
    parameter int N_OUT = 1,
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int WEIGHT_WIDTH = 1,
    parameter int WEIGHT_FRAC = 0,
    parameter bit [N_IN*N_OUT*WEIGHT_WIDTH-1:0] WEIGHTS = '0,
    parameter int BIAS_WIDTH = 1,  // of the exact sums
    parameter int BIAS_FRAC = 0,
    parameter bit BIAS_SIGNED = 0,
    parameter bit [N_OUT*BIAS_WIDTH-1:0] BIASES = '0,
    parameter int Y_WIDTH = 1,
    parameter int Y_FRAC = 0,
    parameter bit Y_SIGNED = 0,
    parameter bit [87:0] Y_ROUNDING = "TRN",
    parameter bit [63:0] Y_OVERFLOW = "WRAP"
) (
    input  logic clk,
    input  logic [N_IN*X_WIDTH-1:0] x,
    output logic [N_OUT*Y_WIDTH-1:0] y
);
    localparam int UP = BIAS_FRAC - X_FRAC - WEIGHT_FRAC;

    generate
        for (genvar o = 0; o < N_OUT; o++) begin : column
            wire [(N_IN+1)*BIAS_WIDTH-1:0] partial;
            assign partial[BIAS_WIDTH-1:0] = BIASES[o*BIAS_WIDTH+:BIAS_WIDTH];
            for (genvar i = 0; i < N_IN; i++) begin : row
                localparam bit signed [WEIGHT_WIDTH-1:0] WEIGHT = WEIGHTS[(i*N_OUT+o)*WEIGHT_WIDTH+:WEIGHT_WIDTH];
                wire [X_WIDTH-1:0] a = x[i*X_WIDTH+:X_WIDTH];
                wire signed [BIAS_WIDTH-1:0] wide = BIAS_WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
                assign partial[(i+1)*BIAS_WIDTH+:BIAS_WIDTH] =
                    partial[i*BIAS_WIDTH+:BIAS_WIDTH] + ((wide * BIAS_WIDTH'(WEIGHT)) <<< UP);
            end
            logic [BIAS_WIDTH-1:0] held;
            always_ff @(posedge clk) held <= partial[N_IN*BIAS_WIDTH+:BIAS_WIDTH];
            cast #(
                .X_WIDTH(BIAS_WIDTH), .X_FRAC(BIAS_FRAC), .X_SIGNED(BIAS_SIGNED), .Y_WIDTH(Y_WIDTH), .Y_FRAC(Y_FRAC),
                .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
            ) narrow (.x(held), .y(y[o*Y_WIDTH+:Y_WIDTH]));
        end
    endgenerate
endmodule
