// Block RAM: a port that writes or reads, and one that reads; data one clock behind the address.
module ram #(
  parameter integer DEPTH = 16,
  parameter integer WIDTH = 32,
  localparam integer BITS = $clog2(DEPTH)
) (
  input  logic             clk,
  input  logic             write,
  input  logic [BITS-1:0]  address,
  input  logic [WIDTH-1:0] data_in,
  output logic [WIDTH-1:0] data,
  input  logic [BITS-1:0]  other_address,
  output logic [WIDTH-1:0] other_data
);
  logic [WIDTH-1:0] words [0:DEPTH-1];

  always_ff @(posedge clk) begin
    if (write) words[address] <= data_in;
    data <= words[address];
  end

  always_ff @(posedge clk) other_data <= words[other_address];
endmodule
