// What the lumi section that ended last counted of its colliding crossings, and what the preview counts.
//
// `ls_end` and `ls_start` come with the events of their clock, from the end of the datapath: an event beside
// `ls_start` belongs to the new section. A section that starts without the end of the one before, as after a
// boot, leaves no counts of that one.
module tally #(
  parameter integer N_CUTS = 1
) (
  input  logic                 clk,
  input  logic                 reset,
  input  logic                 ls_end,
  input  logic                 ls_start,
  input  logic [31:0]          ls,
  input  logic [31:0]          generation,
  input  logic [31:0]          dropped,
  input  logic                 counted,
  input  logic                 tried,
  input  logic [N_CUTS-1:0]    accept,
  input  logic                 clear_tried,
  output logic [32*4-1:0]      counters,
  output logic [32*N_CUTS-1:0] accepts,
  output logic [31:0]          tried_events,
  output logic [32*N_CUTS-1:0] tried_accepts
);
  logic [31:0] section, section_generation, events;
  logic [32*N_CUTS-1:0] running;

  always_ff @(posedge clk) begin
    if (ls_start) begin
      section <= ls;
      section_generation <= generation;
    end
    if (ls_end) begin
      counters <= {dropped, events, section_generation, section};
      accepts <= running;
    end
    events <= (ls_start ? 0 : events) + 32'(counted);
    tried_events <= tried_events + 32'(tried);
    for (int k = 0; k < N_CUTS; k++) begin
      running[32 * k +: 32] <= (ls_start ? 0 : running[32 * k +: 32]) + 32'(counted && accept[k]);
      tried_accepts[32 * k +: 32] <= tried_accepts[32 * k +: 32] + 32'(tried && accept[k]);
    end
    if (reset || clear_tried) begin
      tried_events <= 0;
      tried_accepts <= 0;
    end
    if (reset) begin
      section <= ls;
      section_generation <= 0;
      events <= 0;
      running <= 0;
      counters <= 0;
      accepts <= 0;
    end
  end
endmodule
