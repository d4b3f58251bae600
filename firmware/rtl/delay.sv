// What went in a number of clocks ago.
module delay #(
    parameter int WIDTH = 1,
    parameter int CLOCKS = 1
) (
    input  logic clk,
    input  logic [WIDTH-1:0] x,
    output logic [WIDTH-1:0] y
);
    logic [CLOCKS*WIDTH-1:0] held;
    always_ff @(posedge clk) held <= (CLOCKS * WIDTH)'({held, x});
    assign y = held[(CLOCKS-1)*WIDTH+:WIDTH];
endmodule
