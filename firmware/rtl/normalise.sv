// The frozen step behind the input registers, (x - offset) * 2^-shift in three casts, for N numbers: 1 clock.
module normalise #(
    parameter int N = 1,
    parameter int OFFSET_WIDTH = 1,
    parameter bit [N*OFFSET_WIDTH-1:0] OFFSETS = '0,
    parameter bit [N*32-1:0] SHIFTS = '0,
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int T_WIDTH = 1,
    parameter int T_FRAC = 0,
    parameter bit T_SIGNED = 0,
    parameter bit [87:0] T_ROUNDING = "TRN",
    parameter bit [63:0] T_OVERFLOW = "WRAP",
    parameter int U_WIDTH = 1,
    parameter int U_FRAC = 0,
    parameter bit U_SIGNED = 0,
    parameter bit [87:0] U_ROUNDING = "TRN",
    parameter bit [63:0] U_OVERFLOW = "WRAP",
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
    localparam int FRAC = X_FRAC > 0 ? X_FRAC : 0;
    localparam int A = X_WIDTH + FRAC - X_FRAC;
    localparam int B = OFFSET_WIDTH + FRAC;
    localparam int WIDTH = (A > B ? A : B) + 2;

    generate
        for (genvar i = 0; i < N; i++) begin : number
            localparam bit [OFFSET_WIDTH-1:0] OFFSET = OFFSETS[i*OFFSET_WIDTH+:OFFSET_WIDTH];
            localparam bit signed [31:0] SHIFT = SHIFTS[i*32+:32];
            wire [X_WIDTH-1:0] a = x[i*X_WIDTH+:X_WIDTH];
            wire signed [WIDTH-1:0] wide = WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
            wire signed [WIDTH-1:0] moved = (wide <<< (FRAC - X_FRAC)) - (WIDTH'($signed(OFFSET)) <<< FRAC);
            wire [T_WIDTH-1:0] t;
            cast #(
                .X_WIDTH(WIDTH), .X_FRAC(FRAC), .X_SIGNED(1), .Y_WIDTH(T_WIDTH), .Y_FRAC(T_FRAC),
                .Y_SIGNED(T_SIGNED), .Y_ROUNDING(T_ROUNDING), .Y_OVERFLOW(T_OVERFLOW)
            ) subtracted (.x(moved), .y(t));
            wire [U_WIDTH-1:0] u;
            cast #(
                .X_WIDTH(T_WIDTH), .X_FRAC(T_FRAC + SHIFT), .X_SIGNED(T_SIGNED), .Y_WIDTH(U_WIDTH), .Y_FRAC(U_FRAC),
                .Y_SIGNED(U_SIGNED), .Y_ROUNDING(U_ROUNDING), .Y_OVERFLOW(U_OVERFLOW)
            ) shifted (.x(t), .y(u));
            wire [Y_WIDTH-1:0] result;
            cast #(
                .X_WIDTH(U_WIDTH), .X_FRAC(U_FRAC), .X_SIGNED(U_SIGNED), .Y_WIDTH(Y_WIDTH), .Y_FRAC(Y_FRAC),
                .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
            ) narrow (.x(u), .y(result));
            logic [Y_WIDTH-1:0] held;
            always_ff @(posedge clk) held <= result;
            assign y[i*Y_WIDTH+:Y_WIDTH] = held;
        end
    endgenerate
endmodule
