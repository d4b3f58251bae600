// All of a stream around its datapath: registers, what enters, what is counted, and the memory that is played.
module stream #(
  parameter integer N_FEATURES = 2,
  parameter integer INPUT_WIDTH = 8,
  parameter logic [8*N_FEATURES-1:0] FEATURE_WIDTHS = {N_FEATURES{8'd8}},
  parameter logic [N_FEATURES-1:0] FEATURE_SIGNED = 0,
  parameter integer N_REGISTERS = 8,
  parameter integer LUT_BITS = 2,
  parameter integer CODE_WIDTH = 8,
  parameter integer N_CUTS = 1,
  parameter integer LATENCY = 4,
  parameter integer CAPACITY = 2,
  parameter logic [255:0] MODEL_ID = 0,
  localparam integer N_WORDS = N_REGISTERS + (1 << LUT_BITS),
  localparam integer EVENT_WIDTH = N_FEATURES * INPUT_WIDTH
) (
  input  logic                        clk,
  input  logic                        reset,
  output logic                        ready,
  output logic                        playing,

  input  logic                        strobe,
  input  logic                        write,
  input  logic [16:0]                 address,
  input  logic [31:0]                 wdata,
  output logic [31:0]                 rdata,
  output logic                        ack,
  output logic                        err,

  output logic [$clog2(N_WORDS)-1:0]  image_address,
  input  logic [31:0]                 image_data,

  input  logic                        ls_end,
  input  logic                        ls_start,
  input  logic [31:0]                 ls,
  input  logic [31:0]                 dropped,

  input  logic                        event_valid,
  input  logic                        event_counted,
  input  logic [EVENT_WIDTH-1:0]      event_in,
  output logic                        event_ready,
  output logic                        out_valid,

  output logic                        valid_in,
  output logic                        bank_in,
  output logic [EVENT_WIDTH-1:0]      datapath_event,
  output logic [2*N_REGISTERS*32-1:0] registers,
  input  logic [LUT_BITS:0]           lut_address,
  output logic [31:0]                 lut_data,
  input  logic [CODE_WIDTH-1:0]       code,
  input  logic [N_CUTS-1:0]           accept
);
  logic swap, entering_bank, shadow_written, prescale_written, preview_cleared;
  logic [31:0] generation, prescale, preview_events;
  logic [32*N_CUTS-1:0] preview_accepts, counters_accepts;
  logic [32*4-1:0] counters;

  logic to_playback, bank_ack, bank_err, playback_ack, playback_err;
  logic [31:0] bank_rdata, playback_rdata;
  assign to_playback = address[16];
  assign ack = bank_ack || playback_ack;
  assign err = bank_err || playback_err;
  assign rdata = playback_ack ? playback_rdata : bank_rdata;

  logic playback_valid, playback_bank, playback_taken;
  logic [EVENT_WIDTH-1:0] playback_event;
  logic out_ls_end, out_ls_start, out_counted, out_preview, out_playback;

  bank #(
    .N_WORDS(N_WORDS), .N_REGISTERS(N_REGISTERS), .LUT_BITS(LUT_BITS), .N_CUTS(N_CUTS), .LATENCY(LATENCY),
    .MODEL_ID(MODEL_ID)
  ) banks (
    .clk, .reset, .strobe(strobe && !to_playback), .write, .address(address[15:0]), .wdata,
    .rdata(bank_rdata), .ack(bank_ack), .err(bank_err), .image_address, .image_data, .ready,
    .ls_start, .ls, .swap, .entering_bank, .generation, .registers, .lut_address, .lut_data,
    .shadow_written, .prescale_written, .preview_cleared, .prescale,
    .preview_events, .preview_accepts, .counters, .counters_accepts
  );

  playback #(
    .N_FEATURES(N_FEATURES), .INPUT_WIDTH(INPUT_WIDTH), .FEATURE_WIDTHS(FEATURE_WIDTHS),
    .FEATURE_SIGNED(FEATURE_SIGNED), .CODE_WIDTH(CODE_WIDTH), .CAPACITY(CAPACITY)
  ) player (
    .clk, .reset, .strobe(strobe && to_playback && ready), .write, .address(address[15:0]), .wdata,
    .rdata(playback_rdata), .ack(playback_ack), .err(playback_err),
    .active_bank(entering_bank), .running(playing), .valid(playback_valid), .bank(playback_bank),
    .event_out(playback_event), .taken(playback_taken), .code_valid(out_playback), .code
  );

  slots #(.EVENT_WIDTH(EVENT_WIDTH), .LATENCY(LATENCY)) entrance (
    .clk, .reset, .ready, .entering_bank, .ls_end, .ls_start,
    .event_valid, .event_counted, .event_in, .event_ready,
    .prescale, .restart(prescale_written || preview_cleared),
    .void_preview(shadow_written || preview_cleared || swap),
    .playback_valid, .playback_bank, .playback_event, .playback_taken,
    .valid(valid_in), .bank(bank_in), .event_out(datapath_event),
    .out_ls_end, .out_ls_start, .out_event(out_valid), .out_counted, .out_preview, .out_playback
  );

  tally #(.N_CUTS(N_CUTS)) sections (
    .clk, .reset, .ls_end(out_ls_end), .ls_start(out_ls_start), .ls, .generation, .dropped,
    .counted(out_counted), .tried(out_preview), .accept, .clear_tried(preview_cleared),
    .counters, .accepts(counters_accepts), .tried_events(preview_events), .tried_accepts(preview_accepts)
  );
endmodule
