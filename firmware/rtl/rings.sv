// The scales of N features, those of energies times the scale of the ring of their eta: 3 clocks.
module rings #(
    parameter int N = 1,
    parameter int N_RINGS = 1,
    parameter bit [N*32-1:0] ETAS = '0,  // the feature that is the eta of each
    parameter bit [N*32-1:0] SHIFTS = '0,
    parameter bit [N*32-1:0] COUNTS = '0,  // of rings, 0 where a feature has none
    parameter bit [N*32-1:0] FIRSTS = '0,
    parameter int X_WIDTH = 1,
    parameter bit X_SIGNED = 0,
    parameter int SCALE_WIDTH = 1,
    parameter int SCALE_FRAC = 0,
    parameter bit SCALE_SIGNED = 0
) (
    input  logic clk,
    // Only the etas of what has rings are looked at.
    // verilator lint_off UNUSEDSIGNAL
    input  logic [N*X_WIDTH-1:0] x,
    // verilator lint_on UNUSEDSIGNAL
    input  logic [N_RINGS*SCALE_WIDTH-1:0] ring_scale,  // of the event one clock behind x
    input  logic [N*SCALE_WIDTH-1:0] input_scale,  // of the event two clocks behind x
    output logic [N*SCALE_WIDTH-1:0] y
);
    localparam int PRODUCT_WIDTH = 2 * SCALE_WIDTH + 1;

    generate
        for (genvar i = 0; i < N; i++) begin : feature
            localparam int ETA = ETAS[i*32+:32];
            localparam int COUNT = COUNTS[i*32+:32];
            wire [SCALE_WIDTH-1:0] own = input_scale[i*SCALE_WIDTH+:SCALE_WIDTH];
            if (COUNT == 0) begin : plain
                logic [SCALE_WIDTH-1:0] held;
                always_ff @(posedge clk) held <= own;
                assign y[i*SCALE_WIDTH+:SCALE_WIDTH] = held;
            end else begin : ringed
                localparam int INDEX_WIDTH = COUNT > 1 ? $clog2(COUNT) : 1;
                localparam int WIDTH = (X_WIDTH > INDEX_WIDTH ? X_WIDTH : INDEX_WIDTH) + 3;
                wire [COUNT*SCALE_WIDTH-1:0] scales = ring_scale[FIRSTS[i*32+:32]*SCALE_WIDTH+:COUNT*SCALE_WIDTH];
                wire [X_WIDTH-1:0] eta = x[ETA*X_WIDTH+:X_WIDTH];
                wire signed [WIDTH-1:0] wide = WIDTH'($signed({X_SIGNED && eta[X_WIDTH-1], eta}));
                wire signed [WIDTH-1:0] place = (wide >>> SHIFTS[i*32+:32]) + WIDTH'(COUNT / 2);
                wire below = place[WIDTH-1];
                wire above = place >= WIDTH'(COUNT);
                logic [INDEX_WIDTH-1:0] index;
                always_ff @(posedge clk) index <= below ? '0 : above ? INDEX_WIDTH'(COUNT - 1) : place[INDEX_WIDTH-1:0];

                logic [SCALE_WIDTH-1:0] picked;
                always_ff @(posedge clk) picked <= scales[index*SCALE_WIDTH+:SCALE_WIDTH];

                wire signed [PRODUCT_WIDTH-1:0] a = PRODUCT_WIDTH'($signed({SCALE_SIGNED && own[SCALE_WIDTH-1], own}));
                wire signed [PRODUCT_WIDTH-1:0] b =
                    PRODUCT_WIDTH'($signed({SCALE_SIGNED && picked[SCALE_WIDTH-1], picked}));
                logic [PRODUCT_WIDTH-1:0] product;
                always_ff @(posedge clk) product <= a * b;
                cast #(
                    .X_WIDTH(PRODUCT_WIDTH), .X_FRAC(2 * SCALE_FRAC), .X_SIGNED(1), .Y_WIDTH(SCALE_WIDTH),
                    .Y_FRAC(SCALE_FRAC), .Y_SIGNED(SCALE_SIGNED), .Y_ROUNDING("RND"), .Y_OVERFLOW("SAT")
                ) narrow (.x(product), .y(y[i*SCALE_WIDTH+:SCALE_WIDTH]));
            end
        end
    endgenerate
endmodule
