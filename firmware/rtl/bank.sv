// The two register banks of a stream: one is active, the host writes the other, the shadow bank.
//
// Bus: `strobe` holds with its address until `ack` or `err`, which last one clock. Word addresses as in
// firmware/board/addresses.py. What needs the CRC of the shadow bank (its register, an arm command) waits until it
// is computed, N_WORDS clocks after the last write. Reset copies the image into both banks, in 2 * N_WORDS
// clocks; until then `ready` is low and the bus waits.
//
// `ls_start` is high in the first clock of lumi section `ls`. Armed registers become active there: an event
// that enters in that clock belongs to `entering_bank`, as do all behind it. Writes to the bank that was
// active wait LATENCY clocks more, until its last event has left the datapath.
module bank #(
  parameter integer N_WORDS = 12,
  parameter integer N_REGISTERS = 8,
  parameter integer LUT_BITS = 2,
  parameter integer N_CUTS = 1,
  parameter integer LATENCY = 4,
  parameter logic [255:0] MODEL_ID = 0,
  localparam integer WORD_BITS = $clog2(N_WORDS)
) (
  input  logic                        clk,
  input  logic                        reset,

  input  logic                        strobe,
  input  logic                        write,
  input  logic [15:0]                 address,
  input  logic [31:0]                 wdata,
  output logic [31:0]                 rdata,
  output logic                        ack,
  output logic                        err,

  output logic [WORD_BITS-1:0]        image_address,
  input  logic [31:0]                 image_data,
  output logic                        ready,

  input  logic                        ls_start,
  input  logic [31:0]                 ls,
  output logic                        swap,
  output logic                        entering_bank,
  output logic [31:0]                 generation,

  output logic [2*N_REGISTERS*32-1:0] registers,
  input  logic [LUT_BITS:0]           lut_address,
  output logic [31:0]                 lut_data,

  output logic                        shadow_written,
  output logic                        prescale_written,
  output logic                        preview_cleared,
  output logic [31:0]                 prescale,
  input  logic [31:0]                 preview_events,
  input  logic [32*N_CUTS-1:0]        preview_accepts,
  input  logic [32*4-1:0]             counters,
  input  logic [32*N_CUTS-1:0]        counters_accepts
);
  localparam logic [15:0] STATE = 16'h08, ARM = 16'h10, PREVIEW = 16'h18, PREVIEW_ACCEPTS = 16'h20;
  localparam logic [15:0] COUNTERS = 16'h40, COUNTERS_ACCEPTS = 16'h50, SHADOW = 16'h1000, ACTIVE = 16'h8000;
  localparam logic [15:0] SHADOW_CRC = STATE + 5, COMMAND = ARM + 3, STATUS = ARM + 4, CLEAR = PREVIEW + 2;
  localparam logic [31:0] COMMAND_ARM = 1, COMMAND_DISARM = 2;
  localparam logic [2:0] IDLE = 0, ARMED = 1, REFUSED_CRC = 2, REFUSED_LATE = 3, REFUSED_GENERATION = 4;
  localparam logic [15:0] SIZE = 16'(N_WORDS);
  localparam integer LAST = N_WORDS - 1, LUT_SIZE = 1 << LUT_BITS;
  localparam integer REGISTER_BITS = $clog2(2 * N_REGISTERS);
  localparam integer DRAIN_BITS = $clog2(LATENCY + 1);

  logic active_bank;
  logic [31:0] latched_ls;
  logic [31:0] arm_generation, arm_target, arm_crc, armed_generation, armed_target;
  logic [2:0] status;
  logic [31:0] active_crc, shadow_crc;
  logic crc_valid;
  logic [DRAIN_BITS-1:0] draining;

  assign swap = ls_start && status == ARMED && ls >= armed_target;
  assign entering_bank = active_bank ^ swap;

  // One request at a time, and none in the clock of a swap.
  logic in_shadow, in_active, needs_crc, request, allowed, waits, done, fetch, fetching, write_shadow, write_register;
  assign in_shadow = address >= SHADOW && address < SHADOW + SIZE;
  assign in_active = address >= ACTIVE && address < ACTIVE + SIZE;
  assign needs_crc = write ? address == COMMAND && wdata == COMMAND_ARM : address == SHADOW_CRC;
  assign waits = needs_crc && !crc_valid || write && in_shadow && draining != 0;
  assign request = strobe && ready && !ack && !err && !fetching && !swap;
  assign done = request && allowed && !waits;
  assign fetch = done && !write && (in_shadow || in_active);
  assign write_shadow = done && write && in_shadow;
  assign write_register = done && write && !in_shadow;

  assign shadow_written = write_shadow;
  assign prescale_written = write_register && address == PREVIEW;
  assign preview_cleared = write_register && address == CLEAR;

  logic known;
  logic [31:0] state;
  always_comb begin
    known = 1;
    state = 0;
    case (address)
      STATE: state = N_WORDS;
      STATE + 1: state = {31'd0, active_bank};
      STATE + 2: state = generation;
      STATE + 3: state = latched_ls;
      STATE + 4: state = active_crc;
      SHADOW_CRC: state = shadow_crc;
      ARM: state = arm_generation;
      ARM + 1: state = arm_target;
      ARM + 2: state = arm_crc;
      STATUS: state = {29'd0, status};
      PREVIEW: state = prescale;
      PREVIEW + 1: state = preview_events;
      default: known = in_shadow || in_active;
    endcase
    for (int k = 0; k < 8; k++) begin
      if (address == 16'(k)) {known, state} = {1'b1, MODEL_ID[32 * (7 - k) +: 32]};
    end
    for (int k = 0; k < 4; k++) begin
      if (address == COUNTERS + 16'(k)) {known, state} = {1'b1, counters[32 * k +: 32]};
    end
    for (int k = 0; k < N_CUTS; k++) begin
      if (address == PREVIEW_ACCEPTS + 16'(k)) {known, state} = {1'b1, preview_accepts[32 * k +: 32]};
      if (address == COUNTERS_ACCEPTS + 16'(k)) {known, state} = {1'b1, counters_accepts[32 * k +: 32]};
    end
    allowed = known;
    if (write) allowed = in_shadow || address >= ARM && address <= COMMAND || address == PREVIEW || address == CLEAR;
  end

  // The words of both banks lie in block RAM, to be read back and for the CRC; one access in a clock.
  logic booting, boot_bank, loading, load_bank, scan, scanned, scanning, store, access_bank, is_lut, lut_accessed;
  logic [WORD_BITS-1:0] boot_word, load_word, scan_word, word;
  logic [15:0] base;
  logic [LUT_BITS:0] lut_index;
  logic [REGISTER_BITS-1:0] register_index;
  logic [31:0] stored, register_data, lut_read, fetched, unused_register;

  assign image_address = boot_word;
  assign ready = !booting && !loading;
  assign scan = ready && !crc_valid && !scanned && !fetch && !write_shadow;
  assign store = loading || write_shadow;
  assign stored = loading ? image_data : wdata;
  assign base = in_active ? ACTIVE : SHADOW;
  always_comb begin
    access_bank = loading ? load_bank : active_bank ^ !in_active;
    word = loading ? load_word : WORD_BITS'(address - base);
    if (scan) {access_bank, word} = {!active_bank, scan_word};
    is_lut = word >= WORD_BITS'(N_REGISTERS);
    lut_index = (LUT_BITS + 1)'(word - WORD_BITS'(N_REGISTERS));
    if (access_bank) lut_index = lut_index + (LUT_BITS + 1)'(LUT_SIZE);
    register_index = REGISTER_BITS'(word);
    if (access_bank) register_index = register_index + REGISTER_BITS'(N_REGISTERS);
  end

  ram #(.DEPTH(2 * LUT_SIZE)) lut (
    .clk, .write(store && is_lut), .address(lut_index), .data_in(stored), .data(lut_read),
    .other_address(lut_address), .other_data(lut_data)
  );
  ram #(.DEPTH(2 * N_REGISTERS)) mirror (
    .clk, .write(store && !is_lut), .address(register_index), .data_in(stored), .data(register_data),
    .other_address(register_index), .other_data(unused_register)
  );
  always_ff @(posedge clk) lut_accessed <= is_lut;
  assign fetched = lut_accessed ? lut_read : register_data;

  // The datapath needs all registers at once: here again, in flip-flops.
  for (genvar i = 0; i < 2 * N_REGISTERS; i++) begin : g_register
    always_ff @(posedge clk) begin
      if (store && !is_lut && register_index == REGISTER_BITS'(i)) registers[32 * i +: 32] <= stored;
    end
  end

  // Boot: each word of the image goes into one bank, then into the other.
  always_ff @(posedge clk) begin
    loading <= booting && !reset;
    load_bank <= boot_bank;
    load_word <= boot_word;
    if (reset) begin
      booting <= 1;
      boot_bank <= 0;
      boot_word <= 0;
    end else if (booting) begin
      boot_bank <= !boot_bank;
      if (boot_bank) boot_word <= boot_word + 1;
      if (boot_bank && boot_word == WORD_BITS'(LAST)) booting <= 0;
    end
  end

  // The CRC of the shadow bank is computed anew after each write. That of the image is both banks'.
  logic [31:0] remainder, next_remainder;
  crc32 step (.remainder, .word(loading ? image_data : fetched), .next(next_remainder));
  always_ff @(posedge clk) begin
    scanning <= scan && !reset;
    if (reset || write_shadow) begin
      crc_valid <= 0;
      scanned <= 0;
      scan_word <= 0;
      remainder <= 32'hFFFFFFFF;
    end else begin
      if (scan) begin
        scan_word <= scan_word + 1;
        scanned <= scan_word == WORD_BITS'(LAST);
      end
      if (scanning || loading && load_bank) remainder <= next_remainder;
      if (loading && load_bank && load_word == WORD_BITS'(LAST)) begin
        active_crc <= ~next_remainder;
        shadow_crc <= ~next_remainder;
        crc_valid <= 1;
      end
      if (scanning && scanned) begin
        shadow_crc <= ~next_remainder;
        crc_valid <= 1;
      end
      if (swap) begin
        active_crc <= shadow_crc;
        shadow_crc <= active_crc;
      end
    end
  end

  always_ff @(posedge clk) begin
    fetching <= fetch && !reset;
    ack <= (done && !fetch || fetching) && !reset;
    err <= request && !allowed && !reset;
    rdata <= fetching ? fetched : state;
  end

  logic [2:0] judgement;
  always_comb begin
    judgement = ARMED;
    if (arm_generation <= generation) judgement = REFUSED_GENERATION;
    if (arm_target <= ls) judgement = REFUSED_LATE;
    if (arm_crc != shadow_crc) judgement = REFUSED_CRC;
  end

  always_ff @(posedge clk) begin
    if (reset) begin
      active_bank <= 0;
      generation <= 0;
      latched_ls <= 0;
      status <= IDLE;
      arm_generation <= 0;
      arm_target <= 0;
      arm_crc <= 0;
      armed_generation <= 0;
      armed_target <= 0;
      prescale <= 0;
      draining <= 0;
    end else begin
      if (draining != 0) draining <= draining - 1;
      if (swap) begin
        active_bank <= !active_bank;
        generation <= armed_generation;
        latched_ls <= ls;
        status <= IDLE;
        draining <= DRAIN_BITS'(LATENCY);
      end
      if (write_shadow && status == ARMED) status <= IDLE;
      if (write_register) begin
        case (address)
          ARM: arm_generation <= wdata;
          ARM + 1: arm_target <= wdata;
          ARM + 2: arm_crc <= wdata;
          PREVIEW: prescale <= wdata;
          COMMAND: begin
            if (wdata == COMMAND_ARM) begin
              status <= judgement;
              armed_generation <= arm_generation;
              armed_target <= arm_target;
            end
            if (wdata == COMMAND_DISARM) status <= IDLE;
          end
          default: ;
        endcase
      end
    end
  end
endmodule
