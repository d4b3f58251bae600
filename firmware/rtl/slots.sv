// Which event enters the datapath in a clock, and what becomes of its result.
//
// The trigger's event comes first; then a copy of every `prescale`-th counted one, from the first on, with the
// registers of the shadow bank: the preview; then an event that is played back. `event_ready` is low in the clock
// behind an event that the preview copies, so that a source with an event at most every second clock never waits.
// A preview event is void where the shadow bank changes while it is on its way.
module slots #(
  parameter integer EVENT_WIDTH = 8,
  parameter integer LATENCY = 4
) (
  input  logic                   clk,
  input  logic                   reset,
  input  logic                   ready,
  input  logic                   entering_bank,
  input  logic                   ls_end,
  input  logic                   ls_start,

  input  logic                   event_valid,
  input  logic                   event_counted,
  input  logic [EVENT_WIDTH-1:0] event_in,
  output logic                   event_ready,

  input  logic [31:0]            prescale,
  input  logic                   restart,
  input  logic                   void_preview,

  input  logic                   playback_valid,
  input  logic                   playback_bank,
  input  logic [EVENT_WIDTH-1:0] playback_event,
  output logic                   playback_taken,

  output logic                   valid,
  output logic                   bank,
  output logic [EVENT_WIDTH-1:0] event_out,

  output logic                   out_ls_end,
  output logic                   out_ls_start,
  output logic                   out_event,
  output logic                   out_counted,
  output logic                   out_preview,
  output logic                   out_playback
);
  logic taken, picked, pending;
  logic [31:0] skip;
  logic [EVENT_WIDTH-1:0] copy;

  assign event_ready = ready && !pending;
  assign taken = event_valid && event_ready;
  assign picked = taken && event_counted && prescale != 0 && skip == 0;
  assign playback_taken = playback_valid && ready && !event_valid && !pending;

  assign valid = taken || pending || playback_taken;
  always_comb begin
    {bank, event_out} = {playback_bank, playback_event};
    if (pending) {bank, event_out} = {!entering_bank, copy};
    if (taken) {bank, event_out} = {entering_bank, event_in};
  end

  always_ff @(posedge clk) begin
    copy <= event_in;
    pending <= picked && !restart && !reset;
    if (reset || restart) skip <= 0;
    else if (taken && event_counted && prescale != 0) skip <= skip == 0 ? prescale - 1 : skip - 1;
  end

  // What each slot holds goes along with it, as many clocks as the datapath takes.
  logic [LATENCY-1:0] ends, starts, events, counted, previews, playbacks;
  always_ff @(posedge clk) begin
    ends <= LATENCY'({ends, ls_end});
    starts <= LATENCY'({starts, ls_start});
    events <= LATENCY'({events, taken});
    counted <= LATENCY'({counted, taken && event_counted});
    previews <= LATENCY'({previews, pending});
    playbacks <= LATENCY'({playbacks, playback_taken});
    if (void_preview || reset) previews <= 0;
    if (reset) {ends, starts, events, counted, playbacks} <= 0;
  end
  assign out_ls_end = ends[LATENCY-1];
  assign out_ls_start = starts[LATENCY-1];
  assign out_event = events[LATENCY-1];
  assign out_counted = counted[LATENCY-1];
  assign out_preview = previews[LATENCY-1];
  assign out_playback = playbacks[LATENCY-1];
endmodule
