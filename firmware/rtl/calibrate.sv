// Reconfigurable registers, y = cast(x * scale + offset), for N numbers: 2 clocks.
module calibrate #(
    parameter int N = 1,
    parameter bit [N-1:0] ENERGY = '0,  // where an x of 0 says that there is no object: nothing is added to it
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int SCALE_WIDTH = 1,
    parameter int SCALE_FRAC = 0,
    parameter bit SCALE_SIGNED = 0,
    parameter int OFFSET_WIDTH = 1,
    parameter int OFFSET_FRAC = 0,
    parameter bit OFFSET_SIGNED = 0,
    parameter int Y_WIDTH = 1,
    parameter int Y_FRAC = 0,
    parameter bit Y_SIGNED = 0,
    parameter bit [87:0] Y_ROUNDING = "TRN",
    parameter bit [63:0] Y_OVERFLOW = "WRAP"
) (
    input  logic clk,
    input  logic [N*X_WIDTH-1:0] x,
    input  logic [N*SCALE_WIDTH-1:0] scale,
    input  logic [N*OFFSET_WIDTH-1:0] offset,  // of the event one clock behind x
    output logic [N*Y_WIDTH-1:0] y
);
    localparam int PRODUCT_WIDTH = X_WIDTH + SCALE_WIDTH + 1;
    localparam int PRODUCT_FRAC = X_FRAC + SCALE_FRAC;
    localparam int FRAC = PRODUCT_FRAC > OFFSET_FRAC ? PRODUCT_FRAC : OFFSET_FRAC;
    localparam int PRODUCT_UP = FRAC - PRODUCT_FRAC;
    localparam int OFFSET_UP = FRAC - OFFSET_FRAC;
    localparam int A = PRODUCT_WIDTH + PRODUCT_UP;
    localparam int B = OFFSET_WIDTH + 1 + OFFSET_UP;
    localparam int SUM_WIDTH = (A > B ? A : B) + 1;

    generate
        for (genvar i = 0; i < N; i++) begin : number
            wire [X_WIDTH-1:0] a = x[i*X_WIDTH+:X_WIDTH];
            wire [SCALE_WIDTH-1:0] b = scale[i*SCALE_WIDTH+:SCALE_WIDTH];
            logic absent;
            always_ff @(posedge clk) absent <= ENERGY[i] && a == 0;
            wire [OFFSET_WIDTH-1:0] c = absent ? '0 : offset[i*OFFSET_WIDTH+:OFFSET_WIDTH];
            wire signed [PRODUCT_WIDTH-1:0] wide_a = PRODUCT_WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
            wire signed [PRODUCT_WIDTH-1:0] wide_b = PRODUCT_WIDTH'($signed({SCALE_SIGNED && b[SCALE_WIDTH-1], b}));
            wire signed [SUM_WIDTH-1:0] wide_c = SUM_WIDTH'($signed({OFFSET_SIGNED && c[OFFSET_WIDTH-1], c}));
            logic signed [PRODUCT_WIDTH-1:0] product;
            always_ff @(posedge clk) product <= wide_a * wide_b;

            wire signed [SUM_WIDTH-1:0] sum = (SUM_WIDTH'(product) <<< PRODUCT_UP) + (wide_c <<< OFFSET_UP);
            wire [Y_WIDTH-1:0] result;
            cast #(
                .X_WIDTH(SUM_WIDTH), .X_FRAC(FRAC), .X_SIGNED(1), .Y_WIDTH(Y_WIDTH), .Y_FRAC(Y_FRAC),
                .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
            ) narrow (.x(sum), .y(result));
            logic [Y_WIDTH-1:0] held;
            always_ff @(posedge clk) held <= result;
            assign y[i*Y_WIDTH+:Y_WIDTH] = held;
        end
    endgenerate
endmodule
