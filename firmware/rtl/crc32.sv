// One step of zlib's CRC-32: the remainder behind the four bytes of a word, lowest byte first.
// The first word starts from all ones; the CRC is the inverse of the last remainder.
module crc32 (
  input  logic [31:0] remainder,
  input  logic [31:0] word,
  output logic [31:0] next
);
  localparam logic [31:0] POLYNOMIAL = 32'hEDB88320;

  always_comb begin
    next = remainder ^ word;
    for (int i = 0; i < 32; i++) next = (next >> 1) ^ (next[0] ? POLYNOMIAL : 32'd0);
  end
endmodule
