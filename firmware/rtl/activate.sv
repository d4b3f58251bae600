// The results of a layer from its sums X, which are activated as S, for N numbers: 1 clock.
module activate #(
    parameter int N = 1,
    parameter bit RELU = 0,
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int S_WIDTH = 1,
    parameter int S_FRAC = 0,
    parameter bit S_SIGNED = 0,
    parameter bit [87:0] S_ROUNDING = "TRN",
    parameter bit [63:0] S_OVERFLOW = "WRAP",
    parameter int Y_WIDTH = 1,
    parameter int Y_FRAC = 0,
    parameter bit Y_SIGNED = 0,
    parameter bit [87:0] Y_ROUNDING = "TRN",
    parameter bit [63:0] Y_OVERFLOW = "WRAP"
) (
    input  logic clk,
    input  logic [N*X_WIDTH-1:0] x,
    output logic [N*Y_WIDTH-1:0] y
);
    generate
        for (genvar i = 0; i < N; i++) begin : number
            wire [S_WIDTH-1:0] a;
            cast #(
                .X_WIDTH(X_WIDTH), .X_FRAC(X_FRAC), .X_SIGNED(X_SIGNED), .Y_WIDTH(S_WIDTH), .Y_FRAC(S_FRAC),
                .Y_SIGNED(S_SIGNED), .Y_ROUNDING(S_ROUNDING), .Y_OVERFLOW(S_OVERFLOW)
            ) linear (.x(x[i*X_WIDTH+:X_WIDTH]), .y(a));
            wire [S_WIDTH-1:0] b = RELU && S_SIGNED && a[S_WIDTH-1] ? '0 : a;
            wire [Y_WIDTH-1:0] result;
            cast #(
                .X_WIDTH(S_WIDTH), .X_FRAC(S_FRAC), .X_SIGNED(S_SIGNED), .Y_WIDTH(Y_WIDTH), .Y_FRAC(Y_FRAC),
                .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
            ) narrow (.x(b), .y(result));
            logic [Y_WIDTH-1:0] held;
            always_ff @(posedge clk) held <= result;
            assign y[i*Y_WIDTH+:Y_WIDTH] = held;
        end
    endgenerate
endmodule
