// A memory of events that the host plays through one of the banks, and the codes that come of it.
//
// Bus: as that of the bank, at the addresses behind `playback` in firmware/board/addresses.py. An event is read from
// the memory in N_FEATURES clocks, then waits for a clock in which the datapath takes it. The bank is that which
// was shadow, or active, when the command came.
module playback #(
  parameter integer N_FEATURES = 2,
  parameter integer INPUT_WIDTH = 8,
  parameter logic [8*N_FEATURES-1:0] FEATURE_WIDTHS = {N_FEATURES{8'd8}},
  parameter logic [N_FEATURES-1:0] FEATURE_SIGNED = 0,
  parameter integer CODE_WIDTH = 8,
  parameter integer CAPACITY = 2
) (
  input  logic                              clk,
  input  logic                              reset,

  input  logic                              strobe,
  input  logic                              write,
  input  logic [15:0]                       address,
  input  logic [31:0]                       wdata,
  output logic [31:0]                       rdata,
  output logic                              ack,
  output logic                              err,

  input  logic                              active_bank,
  output logic                              running,
  output logic                              valid,
  output logic                              bank,
  output logic [N_FEATURES*INPUT_WIDTH-1:0] event_out,
  input  logic                              taken,
  input  logic                              code_valid,
  input  logic [CODE_WIDTH-1:0]             code
);
  localparam logic [15:0] COUNT = 1, COMMAND = 2, STATUS = 3, CODES = 16'h100, EVENTS = 16'h800;
  localparam logic [31:0] PLAY_SHADOW = 1, PLAY_ACTIVE = 2;
  localparam integer SIZE = CAPACITY * N_FEATURES;
  localparam integer EVENT_BITS = $clog2(CAPACITY > 1 ? CAPACITY : 2), WORD_BITS = $clog2(SIZE > 1 ? SIZE : 2);
  localparam integer FEATURE_BITS = $clog2(N_FEATURES > 1 ? N_FEATURES : 2);

  logic [31:0] count;
  logic refused;

  logic in_codes, in_events, allowed, request, fetch, fetching, fetching_code, write_register;
  logic [15:0] code_offset, event_offset;
  logic [31:0] state, event_read;
  logic [CODE_WIDTH-1:0] code_read;
  assign code_offset = address - CODES;
  assign event_offset = address - EVENTS;
  assign in_codes = address >= CODES && code_offset < 16'(CAPACITY);
  assign in_events = address >= EVENTS && event_offset < 16'(SIZE);
  assign request = strobe && !ack && !err && !fetching;
  assign fetch = request && !write && (in_codes || in_events);
  assign write_register = request && write && !in_events;
  always_comb begin
    allowed = in_codes || in_events || address <= COUNT || address == STATUS;
    if (write) allowed = in_events || address == COUNT || address == COMMAND;
    state = count;
    if (address == 0) state = CAPACITY;
    if (address == STATUS) state = {30'd0, refused, running};
  end

  always_ff @(posedge clk) begin
    fetching <= fetch && !reset;
    fetching_code <= in_codes;
    ack <= (request && allowed && !fetch || fetching) && !reset;
    err <= request && !allowed && !reset;
    rdata <= !fetching ? state : fetching_code ? 32'(code_read) : event_read;
  end

  // The player: a word of the memory in each clock until the event is whole and taken.
  logic start, loading, arriving, last_arrives;
  logic [EVENT_BITS:0] to_load, to_come;
  logic [EVENT_BITS-1:0] code_index;
  logic [WORD_BITS-1:0] next_word;
  logic [FEATURE_BITS-1:0] next_feature;
  logic [31:0] word;
  logic unused_word;
  logic [N_FEATURES*INPUT_WIDTH-1:0] raw;
  assign start = write_register && address == COMMAND && (wdata == PLAY_SHADOW || wdata == PLAY_ACTIVE) && !running;
  assign running = to_come != 0;
  assign unused_word = ^word;

  always_ff @(posedge clk) begin
    arriving <= loading && !reset;
    last_arrives <= loading && next_feature == FEATURE_BITS'(N_FEATURES - 1);
    if (arriving) raw <= (N_FEATURES * INPUT_WIDTH)'({INPUT_WIDTH'(word), raw} >> INPUT_WIDTH);
    if (write_register && address == COUNT) count <= wdata;
    if (start) begin
      refused <= count > CAPACITY;
      bank <= active_bank ^ (wdata == PLAY_SHADOW);
      next_word <= 0;
      next_feature <= 0;
      code_index <= 0;
      if (count <= CAPACITY) begin
        to_load <= count[EVENT_BITS:0];
        to_come <= count[EVENT_BITS:0];
        loading <= count != 0;
      end
    end
    if (loading) begin
      next_word <= next_word + 1;
      next_feature <= next_feature + 1;
      if (next_feature == FEATURE_BITS'(N_FEATURES - 1)) begin
        loading <= 0;
        next_feature <= 0;
        to_load <= to_load - 1;
      end
    end
    if (arriving && last_arrives) valid <= 1;
    if (taken) begin
      valid <= 0;
      loading <= to_load != 0;
    end
    if (code_valid) begin
      code_index <= code_index + 1;
      to_come <= to_come - 1;
    end
    if (reset) begin
      count <= 0;
      refused <= 0;
      loading <= 0;
      valid <= 0;
      to_load <= 0;
      to_come <= 0;
    end
  end

  ram #(.DEPTH(SIZE)) events (
    .clk, .write(request && write && in_events), .address(WORD_BITS'(event_offset)), .data_in(wdata),
    .data(event_read), .other_address(next_word), .other_data(word)
  );
  logic [CODE_WIDTH-1:0] unused_code;
  ram #(.DEPTH(CAPACITY), .WIDTH(CODE_WIDTH)) codes (
    .clk, .write(code_valid), .address(code_index), .data_in(code), .data(unused_code),
    .other_address(EVENT_BITS'(code_offset)), .other_data(code_read)
  );

  // Each word is cut to the type of its feature, then written in the type of the inputs.
  for (genvar j = 0; j < N_FEATURES; j++) begin : g_feature
    localparam integer WIDTH = 32'(FEATURE_WIDTHS[8 * j +: 8]);
    assign event_out[INPUT_WIDTH * j +: INPUT_WIDTH] =
      {{INPUT_WIDTH - WIDTH{FEATURE_SIGNED[j] & raw[INPUT_WIDTH * j + WIDTH - 1]}}, raw[INPUT_WIDTH * j +: WIDTH]};
  end
endmodule
