"""Specifications of models that tests import."""

SMALL = """
name = "small"
weights = "weights.npz"

[[objects]]
name = "jet"
count = 2
features = { pt = "uint<11>", eta = "int<9>" }

[[objects]]
name = "met"
features = { pt = "uint<12>", phi = "uint<10>" }

[normalisation]
shift = [5, 4, 5, 4, 5, 4]
offset = [3.7, 0, 3, 0, 3, 0]
result_type = "fixed<8,6,RND_CONV,SAT>"

[[layers]]
weight_type = "fixed<7,3>"
result_type = "ufixed<8,5,TRN,SAT>"
activation = "relu"

[[layers]]
weight_type = "fixed<7,3>"
result_type = "fixed<9,5,RND_CONV,SAT>"

[cuts]
target_rates = [0.05, 0.01]
"""


def _layer(number: int, accum: str, result: str, activation: str) -> str:
    return f"""
[[layers]]
weight = "w{number}"
bias = "b{number}"
weight_type = "fixed<6,3,RND_CONV,SAT>"
bias_type = "fixed<10,7,RND_CONV,SAT>"
accum_type = "{accum}"
result_type = "{result}"
activation = "{activation}"
"""


AXOL1TL_V4 = f"""
name = "axol1tl_v4"
weights = "weights.npz"

[[objects]]
name = "met"
features = {{ pt = "uint<12>", eta = "int<9>", phi = "uint<10>" }}
rings = false

[[objects]]
name = "eg"
count = 4
features = {{ pt = "uint<9>", eta = "int<9>", phi = "uint<10>" }}
rings = {{ shift = 3, size = 32 }}

[[objects]]
name = "mu"
count = 4
features = {{ pt = "uint<9>", eta = "int<9>", phi = "uint<10>" }}

[[objects]]
name = "jet"
count = 10
features = {{ pt = "uint<11>", eta = "int<9>", phi = "uint<10>" }}
rings = {{ shift = 3, size = 32 }}

[normalisation]
shift = "input_shift"
offset = "input_offset"
subtract_type = "fixed<18,13>"
shift_type = "fixed<18,13>"
result_type = "fixed<8,6,RND_CONV,SAT>"
{_layer(2, "fixed<29,16>", "ufixed<10,6,RND_CONV,SAT>", "relu")}
{_layer(4, "fixed<22,15>", "ufixed<10,6,RND_CONV,SAT>", "relu")}
{_layer(6, "fixed<21,14>", "fixed<10,7,RND_CONV,SAT>", "linear")}
[score]
type = "ufixed<18,14>"

[cuts]
codes = [346, 389, 415, 456, 557]
"""
