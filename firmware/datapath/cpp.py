"""The C++ source around the core: hls4ml's, or conifer's Forest Processing Unit behind what hls4ml makes of inputs."""

from string import Template

import numpy as np

from firmware.model.fixed import Fixed, Integers
from firmware.model.forest import CHILD_AT, CHILD_BITS, FEATURE_AT, FEATURE_BITS, Shape
from firmware.model.model import Model

TERMS = {
    "sum_of_squares": "term_t term = latent[j] * latent[j];",
    "squared_distance": "auto d = latent[j] - from_raw<latent_t>(center[j]); term_t term = d * d;",
    "linear": "term_t term = latent[j];",
}

RING_PORTS = Template("""
    struct Ringed {
        int energy, eta, shift, size, first;
    };
    static const Ringed ringed[] = {$ringed};
    $scale_t ring_scale[$n_rings], effective_scale[$n_features];
    load(ring_scale, words + $ring_scale, $n_rings);
    load(effective_scale, words + $input_scale, $n_features);""")

RING = Template("""
        for (const Ringed &r : ringed) {
            int ring = std::clamp((events[i * $n_features + r.eta] >> r.shift) + r.size / 2, 0, r.size - 1);
            $effective_t scale = input_scale[r.energy] * ring_scale[r.first + ring];
            effective_scale[r.energy] = scale;
        }""")

OFFSET_PORTS = Template("""
    static const int energies[] = {$energies};
    $offset_t effective_offset[$n_features];
    load(effective_offset, words + $input_offset, $n_features);""")

OFFSET = Template("""
        for (int j : energies)
            effective_offset[j] = events[i * $n_features + j] ? input_offset[j] : $offset_t(0);""")

CONDITIONS = Template("""
    static const int64_t own_bias[$n_out] = {$bias}, condition_weight[$n][$n_out] = {$weight};
    $condition_t conditioning[$n];
    load(conditioning, words + $conditioning, $n);
    $bias_t conditioned_bias[$n_out];
    for (int j = 0; j < $n_out; j++) {
        conditioned_bias[j] = from_raw<$own_bias_t>(own_bias[j]);
        for (int c = 0; c < $n; c++)
            conditioned_bias[j] += conditioning[c] * from_raw<$weight_t>(condition_weight[c][j]);
    }""")

DENSE = Template("""
        $project(event, latent, $arguments);
""")

FOREST_INCLUDE = """
#include <memory>
#include "firmware/fpu.h"
"""

FOREST_PORTS = Template("""
    typedef $threshold_t threshold_t;
    typedef $score_t score_t;
    typedef DecisionNode<threshold_t, score_t, $feature_bits, $address_bits, 1> Node;
    auto nodes = std::make_unique<Node[][$n_nodes]>($n_trees);
    auto roots = std::make_unique<ap_int<$address_bits>[][2]>($n_trees);
    for (int tree = 0; tree < $n_trees; tree++) {
        roots[tree][0] = 1;
        roots[tree][1] = 0;
        for (int node = 0; node < $n_nodes; node++) {
            uint32_t word = words[$forest + tree * $n_nodes + node];
            int value = int16_t(word), left = word >> $child_at & $child_mask;
            int feature = word >> $feature_at & $feature_mask, leaf = !(word >> 31);
            nodes[tree][node].fromInterfaceNode({value, value, feature, left, left + 1, 0, leaf});
        }
    }
    $latent_scale_t latent_scale[1];
    $latent_offset_t latent_offset[1];
    load(latent_scale, words + $latent_scale, 1);
    load(latent_offset, words + $latent_offset, 1);""")

FOREST = Template("""
        $normalised_t normalised[$n_features];
        $project(event, normalised, $arguments);
        threshold_t x[$n_features];
        for (int j = 0; j < $n_features; j++)
            x[j].range() = normalised[j].range();
        score_t sum;
        FPU_df<threshold_t, score_t, $feature_bits, $address_bits, 1, $n_features, $n_nodes, $n_trees, 1>(
            x, sum, roots.get(), nodes.get());
        $core_t value;
        value.range() = sum.range();
        latent[0] = value * latent_scale[0] + latent_offset[0];
""")

SOURCE = Template("""\
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include "firmware/$project.cpp"$include

typedef $latent_t latent_t;
typedef $latent_raw_t latent_raw_t;
typedef $term_t term_t;
typedef $sum_t sum_t;
typedef $code_t code_t;
typedef $output_scale_t output_scale_t;
typedef $output_offset_t output_offset_t;

static const int64_t center[$n_latent] = {$center};

template <class T> static T from_raw(int64_t raw) {
    T number;
    number.range() = ap_int<64>(raw);
    return number;
}

template <class T> static uint32_t to_code(const T &number) {
    return number.range().to_uint();
}

template <class T> static void load(T *to, const uint32_t *from, int size) {
    for (int i = 0; i < size; i++)
        to[i] = from_raw<T>(int32_t(from[i]));
}

extern "C" __attribute__((visibility("default"))) void
driftd_run(const int32_t *events, size_t n, const uint32_t *words, uint32_t *codes, uint32_t *core_codes,
           int64_t *latents, uint8_t *accepts) {
    $ports$ring_ports$offset_ports$conditions$forest_ports
    output_scale_t output_scale = from_raw<output_scale_t>(words[$output_scale]);
    output_offset_t output_offset = from_raw<output_offset_t>(int32_t(words[$output_offset]));
    const uint32_t *cuts = words + $cuts, *lut = words + $lut;

    for (size_t i = 0; i < n; i++) {
        $input_t event[$n_features];
        for (int j = 0; j < $n_features; j++)
            event[j] = events[i * $n_features + j];$rings$offsets
        latent_t latent[$n_latent];$core
        sum_t score = 0;
        for (int j = 0; j < $n_latent; j++) {
            $term
            score += term;
            latent_raw_t raw = latent[j].range();
            latents[i * $n_latent + j] = raw.to_int64();
        }
        code_t calibrated = score * output_scale + output_offset;
        uint32_t code = to_code(calibrated);
        if (code < $lut_size)
            code = lut[code];
        core_codes[i] = to_code(score);
        codes[i] = code;
        for (int k = 0; k < $n_cuts; k++)
            accepts[i * $n_cuts + k] = code >= cuts[k];
    }
}
""")


def source(model: Model, project: str, ports: list[tuple[str, str]]) -> str:
    """The C++ around the core of a model.

    Args:
        model: whose datapath it is.
        project: name of the core's top function.
        ports: of the core, as (layout field, C++ type), in the order of its arguments.
    """
    layout, score, latent = model.layout, model.score, model.latent.result_type
    names = [field for field, _ in ports]
    ring_ports = rings = offset_ports = offsets = conditions = ""
    if model.rings:
        ring_ports, rings = _rings(model)
        names = ["effective_scale" if field == "input_scale" else field for field in names]
    if model.is_energy.any():
        offset_ports, offsets = _offsets(model)
        names = ["effective_offset" if field == "input_offset" else field for field in names]
    if model.conditions:
        conditions = _conditions(model, dict(ports)["conditioning"])
        names = ["conditioned_bias" if field == "conditioning" else field for field in names]
        ports = [port for port in ports if port[0] != "conditioning"]
    arguments = ", ".join(names)
    include = forest_ports = ""
    core = DENSE.substitute(project=project, arguments=arguments)
    if model.forest is not None:
        include = FOREST_INCLUDE
        forest_ports, core = _forest(model, model.forest.shape, project, arguments)
    return SOURCE.substitute(
        project=project,
        input_t=spelling(model.input_type),
        latent_t=spelling(latent),
        latent_raw_t=Fixed(latent.width, latent.width, latent.signed),
        term_t=spelling(score.term_type),
        sum_t=spelling(score.sum_type),
        code_t=spelling(model.code_type),
        output_scale_t=spelling(model.output.scale_type),
        output_offset_t=spelling(model.output.offset_type),
        n_features=model.n_features,
        n_latent=model.n_latent,
        n_cuts=model.n_cuts,
        lut_size=1 << model.lut_bits,
        center=", ".join(map(str, score.center or ())),
        term=TERMS[score.kind],
        ports="\n    ".join(
            f"{type} {field}[{layout[field].size}];\n"
            f"    load({field}, words + {layout[field].address}, {layout[field].size});"
            for field, type in ports
        ),
        ring_ports=ring_ports,
        rings=rings,
        offset_ports=offset_ports,
        offsets=offsets,
        conditions=conditions,
        include=include,
        forest_ports=forest_ports,
        core=core,
        **{name: layout[name].address for name in ("output_scale", "output_offset", "cuts", "lut")},
    )


def _conditions(model: Model, bias_t: str) -> str:
    """The first layer's bias, of type `bias_t`, from the registers of the conditions."""
    first, weight = model.layers[0], model.condition_weight
    return CONDITIONS.substitute(
        n=len(weight),
        n_out=first.bias.size,
        bias=_list(first.bias),
        weight=", ".join(f"{{{_list(row)}}}" for row in weight),
        condition_t=spelling(model.conditions[0].type),
        own_bias_t=spelling(first.bias_type),
        weight_t=spelling(first.weight_type),
        bias_t=bias_t,
        conditioning=model.layout["conditioning"].address,
    )


def _list(raws: Integers) -> str:
    return ", ".join(map(str, raws.tolist()))


def _rings(model: Model) -> tuple[str, str]:
    """The registers of the rings, and how an event's own scales come from them."""
    size = {"n_features": model.n_features, "n_rings": model.n_rings}
    ports = RING_PORTS.substitute(
        size,
        ringed=", ".join(f"{{{', '.join(map(str, feature))}}}" for feature in model.ringed),
        scale_t=spelling(model.input.scale_type),
        **{name: model.layout[name].address for name in ("ring_scale", "input_scale")},
    )
    return ports, RING.substitute(size, effective_t=spelling(model.input.effective_type))


def _offsets(model: Model) -> tuple[str, str]:
    """The energies, and how those of an event that are there get their offsets."""
    names = {"n_features": model.n_features, "offset_t": spelling(model.input.offset_type)}
    ports = OFFSET_PORTS.substitute(
        names, energies=_list(np.flatnonzero(model.is_energy)), input_offset=model.layout["input_offset"].address
    )
    return ports, OFFSET.substitute(names)


def _forest(model: Model, shape: Shape, project: str, arguments: str) -> tuple[str, str]:
    """How the words become conifer's nodes, and what its unit makes of an event."""
    names = {
        "project": project,
        "arguments": arguments,
        "n_features": shape.n_features,
        "n_trees": shape.n_trees,
        "n_nodes": shape.n_nodes,
        "feature_bits": (shape.n_features - 1).bit_length() + 1,
        "address_bits": (shape.n_nodes - 1).bit_length() + 1,
        "threshold_t": _whole(shape.threshold_type),
        "score_t": _whole(shape.score_type),
        "normalised_t": spelling(model.normalisation.result_type),
        "core_t": spelling(model.core_type),
        "latent_scale_t": spelling(model.latent.scale_type),
        "latent_offset_t": spelling(model.latent.offset_type),
        "child_at": CHILD_AT,
        "child_mask": (1 << CHILD_BITS) - 1,
        "feature_at": FEATURE_AT,
        "feature_mask": (1 << FEATURE_BITS) - 1,
        **{name: model.layout[name].address for name in ("forest", "latent_scale", "latent_offset")},
    }
    return FOREST_PORTS.substitute(names), FOREST.substitute(names)


def _whole(type: Fixed) -> str:
    """As conifer spells the integers of that width."""
    return f"ap_fixed<{type.width},{type.width}>"


def spelling(type: Fixed) -> str:
    """The spelling without short forms: hls4ml takes a two-bit `ap_int` for a ternary weight."""
    u = "" if type.signed else "u"
    return f"ap_{u}fixed<{type.width},{type.integer},AP_{type.rounding},AP_{type.overflow}>"
