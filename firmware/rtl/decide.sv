// The LUT, read outside, and the cuts behind it: 3 clocks.
module decide #(
    parameter int WIDTH = 1,
    parameter int LUT_BITS = 0,
    parameter int N_CUTS = 1
) (
    input  logic clk,
    input  logic [WIDTH-1:0] x,
    // A word of the LUT has no more bits than a code.
    // verilator lint_off UNUSEDSIGNAL
    input  logic [31:0] lut_data,  // of the code one clock behind x
    // verilator lint_on UNUSEDSIGNAL
    input  logic [N_CUTS*WIDTH-1:0] cuts,  // of the event two clocks behind x
    output logic [WIDTH-1:0] y,
    output logic [N_CUTS-1:0] accept
);
    logic [WIDTH-1:0] asked, answered;
    always_ff @(posedge clk) asked <= x;
    always_ff @(posedge clk) answered <= (asked >> LUT_BITS) == '0 ? lut_data[WIDTH-1:0] : asked;
    always_ff @(posedge clk) y <= answered;

    generate
        for (genvar k = 0; k < N_CUTS; k++) begin : cut
            logic passed;
            always_ff @(posedge clk) passed <= answered >= cuts[k*WIDTH+:WIDTH];
            assign accept[k] = passed;
        end
    endgenerate
endmodule
