// The terms of the score, z or (z - center)^2, for N numbers: 1 clock.
module terms #(
    parameter int N = 1,
    parameter bit SQUARE = 0,
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter bit [N*X_WIDTH-1:0] CENTERS = '0,
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
    localparam int WIDTH = SQUARE ? 2 * (X_WIDTH + 1) : X_WIDTH + 1;

    generate
        for (genvar i = 0; i < N; i++) begin : number
            localparam bit [X_WIDTH-1:0] CENTER = CENTERS[i*X_WIDTH+:X_WIDTH];
            wire [X_WIDTH-1:0] a = x[i*X_WIDTH+:X_WIDTH];
            wire signed [WIDTH-1:0] wide = WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
            wire signed [WIDTH-1:0] distance = wide - WIDTH'($signed({X_SIGNED && CENTER[X_WIDTH-1], CENTER}));
            logic [WIDTH-1:0] term;
            always_ff @(posedge clk) term <= SQUARE ? distance * distance : wide;
            cast #(
                .X_WIDTH(WIDTH), .X_FRAC(SQUARE ? 2 * X_FRAC : X_FRAC), .X_SIGNED(1), .Y_WIDTH(Y_WIDTH),
                .Y_FRAC(Y_FRAC), .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
            ) narrow (.x(term), .y(y[i*Y_WIDTH+:Y_WIDTH]));
        end
    endgenerate
endmodule
