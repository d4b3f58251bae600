// A stream of registers around a datapath that tells on them: the code of an event is the sum of all registers of
// its bank, of the LUT's word at its lowest bits, and of its features; cut k is the register k from the end.
module bench (
  input  logic        clk,
  input  logic        reset,
  output logic        ready,
  output logic        playing,
  input  logic        strobe,
  input  logic        write,
  input  logic [16:0] address,
  input  logic [31:0] wdata,
  output logic [31:0] rdata,
  output logic        ack,
  output logic        err,
  input  logic        ls_end,
  input  logic        ls_start,
  input  logic [31:0] ls,
  input  logic [31:0] dropped,
  input  logic        event_valid,
  input  logic        event_counted,
  input  logic [23:0] event_in,
  output logic        event_ready,
  output logic        out_valid,
  output logic        out_bank,
  output logic [31:0] out_code,
  output logic [1:0]  out_accept
);
  localparam integer N_REGISTERS = 5, LUT_BITS = 3, N_WORDS = 13, DELAY = 3;

  logic [3:0] image_address;
  logic [31:0] image_data, lut_data;
  logic valid_in, bank_in;
  logic [23:0] datapath_event;
  logic [2*N_REGISTERS*32-1:0] registers;
  logic [LUT_BITS:0] lut_address;

  logic [31:0] words [0:N_WORDS-1];
  initial for (int i = 0; i < N_WORDS; i++) words[i] = 100 + i;
  always_ff @(posedge clk) image_data <= words[image_address];

  stream #(
    .N_FEATURES(3), .INPUT_WIDTH(8), .FEATURE_WIDTHS({8'd8, 8'd5, 8'd7}), .FEATURE_SIGNED(3'b001),
    .N_REGISTERS(N_REGISTERS), .LUT_BITS(LUT_BITS), .CODE_WIDTH(32), .N_CUTS(2), .LATENCY(3 + DELAY), .CAPACITY(4),
    .MODEL_ID(256'h0123456789abcdef_1123456789abcdef_2123456789abcdef_3123456789abcdef)
  ) dut (
    .clk, .reset, .ready, .playing, .strobe, .write, .address, .wdata, .rdata, .ack, .err,
    .image_address, .image_data, .ls_end, .ls_start, .ls, .dropped,
    .event_valid, .event_counted, .event_in, .event_ready, .out_valid,
    .valid_in, .bank_in, .datapath_event, .registers, .lut_address, .lut_data, .code(out_code), .accept(out_accept)
  );

  logic bank, bank_at_lut;
  logic [23:0] event_at_lut, event_behind;
  logic [31:0] sum;
  logic [31:0] codes [0:DELAY];
  logic [DELAY:0] banks;
  assign lut_address = {bank_at_lut, event_at_lut[LUT_BITS-1:0]};
  always_comb begin
    sum = lut_data + 32'(signed'(event_behind[7:0])) + 32'(event_behind[15:8]) + 32'(event_behind[23:16]);
    for (int i = 0; i < N_REGISTERS; i++) sum = sum + registers[32 * (i + (bank ? N_REGISTERS : 0)) +: 32];
  end
  always_ff @(posedge clk) begin
    {bank_at_lut, event_at_lut} <= {bank_in, datapath_event};
    {bank, event_behind} <= {bank_at_lut, event_at_lut};
    banks <= {banks[DELAY-1:0], bank};
    codes[0] <= sum;
    for (int i = 0; i < DELAY; i++) codes[i + 1] <= codes[i];
  end
  assign out_code = codes[DELAY];
  assign out_bank = banks[DELAY];
  always_comb begin
    for (int k = 0; k < 2; k++) begin
      out_accept[k] = out_code >= registers[32 * (N_REGISTERS - 1 - k + (out_bank ? N_REGISTERS : 0)) +: 32];
    end
  end
endmodule
