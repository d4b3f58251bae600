"""The SystemVerilog of a whole stream: the generated datapath, its registers, and the image they boot with."""

from pathlib import Path

from firmware.board.register_map import playback_capacity
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import datapath

HERE = Path(__file__).parent
STREAM_PARTS = tuple(HERE / f"{name}.sv" for name in ("ram", "crc32", "bank", "playback", "slots", "tally", "stream"))
NAME = "top"


def write(model: Model, nominal: Payload, directory: Path) -> list[Path]:
    """Write what is generated into `directory`; every file to compile, module `top` last."""
    files = datapath.write(model, directory)
    for name, text in (("image", image(nominal)), (NAME, verilog(model))):
        (directory / f"{name}.sv").write_text(text)
    return [*files, *STREAM_PARTS, directory / "image.sv", directory / f"{NAME}.sv"]


def image(nominal: Payload) -> str:
    """The words that both banks hold after a boot, as a ROM."""
    n, bits = len(nominal.words), (len(nominal.words) - 1).bit_length()
    lines = "\n".join(f"    words[{i}] = 32'h{word:08x};" for i, word in enumerate(nominal.words.tolist()))
    return f"""module image (
  input  logic clk,
  input  logic [{bits - 1}:0] address,
  output logic [31:0] data
);
  logic [31:0] words [0:{n - 1}];
  initial begin
{lines}
  end
  always_ff @(posedge clk) data <= words[address];
endmodule
"""


def verilog(model: Model) -> str:
    """The module `top`: bus, lumi sections and events in, codes and accept bits out."""
    sizes = datapath.sizes(model)
    types = [feature.type for feature in model.features]
    event, words = sizes.n_features * sizes.input_width, (model.layout.n_words - 1).bit_length()
    latent = sizes.n_latent * sizes.latent_width
    widths = ", ".join(f"8'd{type.width}" for type in reversed(types))
    signed = "".join(str(int(type.signed)) for type in reversed(types))
    return f"""module top (
  input  logic clk,
  input  logic reset,
  output logic ready,
  output logic playing,

  input  logic strobe,
  input  logic write,
  input  logic [16:0] address,
  input  logic [31:0] wdata,
  output logic [31:0] rdata,
  output logic ack,
  output logic err,

  input  logic ls_end,
  input  logic ls_start,
  input  logic [31:0] ls,
  input  logic [31:0] dropped,

  input  logic event_valid,
  input  logic event_counted,
  input  logic [{event - 1}:0] event_in,
  output logic event_ready,

  output logic out_valid,
  output logic out_bank,
  output logic [{sizes.code_width - 1}:0] out_code,
  output logic [{sizes.n_cuts - 1}:0] out_accept
);
  logic [{words - 1}:0] image_address;
  logic [31:0] image_data, lut_data;
  logic valid_in, bank_in, unused_valid;
  logic [{event - 1}:0] datapath_event;
  logic [{2 * sizes.n_registers * 32 - 1}:0] registers;
  logic [{sizes.lut_bits}:0] lut_address;
  logic [{sizes.code_width - 1}:0] unused_core_code;
  logic [{latent - 1}:0] unused_latent;

  image nominal (.clk, .address(image_address), .data(image_data));

  stream #(
    .N_FEATURES({sizes.n_features}), .INPUT_WIDTH({sizes.input_width}),
    .FEATURE_WIDTHS({{{widths}}}),
    .FEATURE_SIGNED({sizes.n_features}'b{signed}),
    .N_REGISTERS({sizes.n_registers}), .LUT_BITS({sizes.lut_bits}), .CODE_WIDTH({sizes.code_width}),
    .N_CUTS({sizes.n_cuts}), .LATENCY({sizes.latency}), .CAPACITY({playback_capacity(sizes.n_features)}),
    .MODEL_ID(256'h{model.id})
  ) registered (
    .clk, .reset, .ready, .playing, .strobe, .write, .address, .wdata, .rdata, .ack, .err,
    .image_address, .image_data, .ls_end, .ls_start, .ls, .dropped,
    .event_valid, .event_counted, .event_in, .event_ready, .out_valid,
    .valid_in, .bank_in, .datapath_event, .registers, .lut_address, .lut_data,
    .code(out_code), .accept(out_accept)
  );

  datapath core (
    .clk, .valid_in, .bank_in, .event_in(datapath_event), .registers, .lut_address, .lut_data,
    .valid_out(unused_valid), .bank_out(out_bank), .code_out(out_code), .core_code_out(unused_core_code),
    .latent_out(unused_latent), .accept_out(out_accept)
  );
endmodule
"""
