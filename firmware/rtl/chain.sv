// N_OUT sums of N_IN weighted numbers, every product and every partial sum cast, in order from a bias on:
// STEPS a clock.
module chain #(
    parameter int N_IN = 1,
    parameter int N_OUT = 1,
    parameter int STEPS = 1,
    parameter int X_WIDTH = 1,
    parameter int X_FRAC = 0,
    parameter bit X_SIGNED = 0,
    parameter int WEIGHT_WIDTH = 1,
    parameter int WEIGHT_FRAC = 0,
    parameter bit [N_IN*N_OUT*WEIGHT_WIDTH-1:0] WEIGHTS = '0,
    parameter int P_WIDTH = 1,
    parameter int P_FRAC = 0,
    parameter bit P_SIGNED = 0,
    parameter bit [87:0] P_ROUNDING = "TRN",
    parameter bit [63:0] P_OVERFLOW = "WRAP",
    parameter int Y_WIDTH = 1,
    parameter int Y_FRAC = 0,
    parameter bit Y_SIGNED = 0,
    parameter bit [87:0] Y_ROUNDING = "TRN",
    parameter bit [63:0] Y_OVERFLOW = "WRAP"
) (
    input  logic clk,
    input  logic [N_IN*X_WIDTH-1:0] x,
    input  logic [N_OUT*Y_WIDTH-1:0] biases,
    output logic [N_OUT*Y_WIDTH-1:0] y
);
    localparam int STAGES = (N_IN + STEPS - 1) / STEPS;
    localparam int PRODUCT_WIDTH = X_WIDTH + 1 + WEIGHT_WIDTH;
    localparam int FRAC = P_FRAC > Y_FRAC ? P_FRAC : Y_FRAC;
    localparam int A = P_WIDTH + FRAC - P_FRAC;
    localparam int B = Y_WIDTH + FRAC - Y_FRAC;
    localparam int SUM_WIDTH = (A > B ? A : B) + 2;

    wire [STAGES*N_IN*X_WIDTH-1:0] waiting;
    wire [(STAGES+1)*N_OUT*Y_WIDTH-1:0] totals;
    assign waiting[N_IN*X_WIDTH-1:0] = x;
    assign totals[N_OUT*Y_WIDTH-1:0] = biases;
    assign y = totals[STAGES*N_OUT*Y_WIDTH+:N_OUT*Y_WIDTH];

    generate
        for (genvar s = 0; s < STAGES; s++) begin : stage
            localparam int FIRST = s * STEPS;
            localparam int COUNT = N_IN - FIRST < STEPS ? N_IN - FIRST : STEPS;
            // Zeros have moved in above the numbers that are left.
            // verilator lint_off UNUSEDSIGNAL
            wire [N_IN*X_WIDTH-1:0] numbers = waiting[s*N_IN*X_WIDTH+:N_IN*X_WIDTH];
            // verilator lint_on UNUSEDSIGNAL
            if (s + 1 < STAGES) begin : rest
                logic [N_IN*X_WIDTH-1:0] later;
                always_ff @(posedge clk) later <= numbers >> (STEPS * X_WIDTH);
                assign waiting[(s+1)*N_IN*X_WIDTH+:N_IN*X_WIDTH] = later;
            end

            for (genvar o = 0; o < N_OUT; o++) begin : column
                wire [(COUNT+1)*Y_WIDTH-1:0] partial;
                assign partial[Y_WIDTH-1:0] = totals[(s*N_OUT+o)*Y_WIDTH+:Y_WIDTH];
                for (genvar k = 0; k < COUNT; k++) begin : step
                    localparam bit signed [WEIGHT_WIDTH-1:0] WEIGHT =
                        WEIGHTS[((FIRST+k)*N_OUT+o)*WEIGHT_WIDTH+:WEIGHT_WIDTH];
                    wire [X_WIDTH-1:0] a = numbers[k*X_WIDTH+:X_WIDTH];
                    wire signed [PRODUCT_WIDTH-1:0] wide = PRODUCT_WIDTH'($signed({X_SIGNED && a[X_WIDTH-1], a}));
                    wire [PRODUCT_WIDTH-1:0] exact = wide * PRODUCT_WIDTH'(WEIGHT);
                    wire [P_WIDTH-1:0] product;
                    cast #(
                        .X_WIDTH(PRODUCT_WIDTH), .X_FRAC(X_FRAC + WEIGHT_FRAC), .X_SIGNED(1), .Y_WIDTH(P_WIDTH),
                        .Y_FRAC(P_FRAC), .Y_SIGNED(P_SIGNED), .Y_ROUNDING(P_ROUNDING), .Y_OVERFLOW(P_OVERFLOW)
                    ) term (.x(exact), .y(product));
                    wire [Y_WIDTH-1:0] so_far = partial[k*Y_WIDTH+:Y_WIDTH];
                    wire signed [SUM_WIDTH-1:0] sum =
                        (SUM_WIDTH'($signed({P_SIGNED && product[P_WIDTH-1], product})) <<< (FRAC - P_FRAC))
                        + (SUM_WIDTH'($signed({Y_SIGNED && so_far[Y_WIDTH-1], so_far})) <<< (FRAC - Y_FRAC));
                    cast #(
                        .X_WIDTH(SUM_WIDTH), .X_FRAC(FRAC), .X_SIGNED(1), .Y_WIDTH(Y_WIDTH), .Y_FRAC(Y_FRAC),
                        .Y_SIGNED(Y_SIGNED), .Y_ROUNDING(Y_ROUNDING), .Y_OVERFLOW(Y_OVERFLOW)
                    ) narrow (.x(sum), .y(partial[(k+1)*Y_WIDTH+:Y_WIDTH]));
                end
                logic [Y_WIDTH-1:0] held;
                always_ff @(posedge clk) held <= partial[COUNT*Y_WIDTH+:Y_WIDTH];
                assign totals[((s+1)*N_OUT+o)*Y_WIDTH+:Y_WIDTH] = held;
            end
        end
    endgenerate
endmodule
