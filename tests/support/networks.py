"""Networks and casts on which every execution of the datapath must agree."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from firmware.datapath.emulator import Answers
from firmware.model.checks import SCORES
from firmware.model.fixed import OVERFLOWS, ROUNDINGS, Fixed, Integers
from firmware.model.model import Model
from firmware.model.parts import Condition, Dense, Feature, Normalisation, Registers, Rings, Score
from firmware.model.payload import Payload


def differences(a: Answers, b: Answers) -> list[int]:
    """On how many words the two disagree."""
    return [int((getattr(a, part) != getattr(b, part)).sum()) for part in ("codes", "core_codes", "latent", "accepts")]


def odd_models() -> dict[str, Model]:
    """Networks that take the paths of the datapath which AXOL1TL does not."""
    parse = Fixed.parse
    rng = np.random.default_rng(11)

    def dense(n_in: int, n_out: int, accum: str, result: str, relu: bool) -> Dense:
        weight_type, bias_type = parse("fixed<6,2>"), parse("fixed<7,4>")
        weight, bias = rng.integers(-32, 32, (n_in, n_out)), rng.integers(-64, 64, n_out)
        return Dense(weight, bias, weight_type, bias_type, parse(accum), parse(result), relu)

    def registers(scale: str, offset: str, result: str) -> Registers:
        return Registers(parse(scale), parse(offset), parse(result))

    def normalisation(n: int, shift: int, offset: int, result: str) -> Normalisation:
        fixed = parse("fixed<16,12>")
        return Normalisation(np.full(n, shift), np.full(n, offset), fixed, fixed, parse(result))

    kinds = (("x", "pt"), ("x", "pt"), ("y", "eta"), ("x", "eta"), ("x", "eta"), ("y", "energy"))
    distance = Model(
        "distance to a center, every product truncated, saturating sums, rings of unlike objects",
        tuple(Feature(f"{o}{i}", o, kind, Fixed(9, 9, i % 2 == 0)) for i, (o, kind) in enumerate(kinds)),
        (Rings("y", 0, 4), Rings("x", 4, 16)),
        registers("ufixed<8,1>", "fixed<9,6,RND,SAT>", "fixed<14,11,TRN_ZERO,SAT_SYM>"),
        normalisation(6, 3, -5, "fixed<9,6,RND_INF,SAT_ZERO>"),
        (
            dense(6, 5, "fixed<11,7,RND_MIN_INF,SAT>", "ufixed<8,5,RND_ZERO,WRAP>", True),
            dense(5, 3, "fixed<9,6,TRN_ZERO,SAT_SYM>", "fixed<8,5,RND,WRAP>", False),
        ),
        registers("ufixed<10,2>", "ufixed<4,1>", "fixed<11,6,RND_CONV,SAT>"),
        Score("squared_distance", (40, -250, 3), parse("fixed<16,12,RND>"), parse("ufixed<14,10,RND,SAT>")),
        registers("ufixed<12,3>", "fixed<14,10>", "ufixed<14,10,TRN,SAT_ZERO>"),
        lut_bits=5,
        n_cuts=2,
    )
    linear = Model(
        "one linear output of 252 energies, no normalisation, unsigned latent, two-bit integer weights",
        tuple(Feature(f"e{i}", "region", "energy", Fixed(10, 10, False)) for i in range(252)),
        (),
        registers("ufixed<16,2>", "fixed<12,10>", "ufixed<14,12,RND,SAT>"),
        normalisation(252, 0, 0, "ufixed<10,10,RND,SAT>"),
        (
            replace(
                dense(252, 4, "fixed<24,18>", "ufixed<16,14,RND,SAT>", True),
                weight=rng.choice([-2, -1, 0, 1], (252, 4), p=[0.1, 0.2, 0.29, 0.41]),
                weight_type=Fixed(2, 2),
            ),
            dense(4, 1, "fixed<28,20>", "ufixed<18,16,RND_CONV,SAT>", True),
        ),
        registers("ufixed<16,2>", "fixed<12,10>", "ufixed<18,16,RND,SAT>"),
        Score("linear", None, parse("ufixed<18,16>"), parse("ufixed<16,12,RND,SAT>")),
        registers("ufixed<16,2>", "fixed<16,12>", "ufixed<16,12,RND,SAT>"),
        lut_bits=0,
        n_cuts=1,
    )
    accum = parse("ufixed<18,10,TRN,SAT>")
    unsigned = replace(
        distance,
        name="sums that saturate at zero at every step",
        layers=tuple(replace(layer, accum_type=accum) for layer in distance.layers),
    )
    return {
        "distance": distance,
        "linear": linear,
        "unsigned": unsigned,
        **weighted_models(distance, linear),
        **conditioned_models(distance),
    }


def weighted_models(distance: Model, linear: Model) -> dict[str, Model]:
    """The same with the weights of the last layer in registers."""
    first, last = distance.layers
    wraps = Fixed.parse("fixed<14,7,RND_CONV>")
    return {
        "weights": replace(
            distance,
            name="weights in registers: sums that wrap, rounded biases, signed results",
            layers=(first, replace(last, accum_type=wraps, bias_type=Fixed(12, 4), reconfigurable=True)),
        ),
        "unsigned weights": replace(
            linear,
            name="weights in registers: unsigned ones and one output",
            layers=(
                linear.layers[0],
                replace(
                    linear.layers[1],
                    weight=np.abs(linear.layers[1].weight),
                    weight_type=Fixed(6, 2, signed=False),
                    reconfigurable=True,
                ),
            ),
        ),
    }


def conditioned_models(distance: Model) -> dict[str, Model]:
    """One condition, and two unlike ones beside weights in registers."""
    random, (first, last) = np.random.default_rng(21), distance.layers
    kind, wraps = Fixed(7, 3), Fixed.parse("fixed<15,8,RND_INF>")
    conditions = tuple(Condition(name, kind, nominal, -40, 50) for name, nominal in (("pileup", -3), ("crossing", 20)))

    def rows(n: int) -> Dense:
        weight = np.concatenate([first.weight, random.integers(-32, 32, (n, 5))])
        return replace(first, weight=weight, accum_type=wraps)

    weighted = replace(last, accum_type=Fixed.parse("fixed<14,7,RND_CONV>"), reconfigurable=True)
    return {
        "condition": replace(distance, name="one condition", layers=(rows(1), last), conditions=conditions[:1]),
        "conditions": replace(
            distance, name="two conditions and weights", layers=(rows(2), weighted), conditions=conditions
        ),
    }


def registered_models() -> dict[str, Model]:
    """By what their registers hold of the network and its rings."""
    known = odd_models()
    return {
        "weights": replace(known["weights"], rings=(), lut_bits=0, n_cuts=1),
        "weights and rings": known["weights"],
        "a condition": replace(known["condition"], rings=()),
        "conditions, weights and rings": known["conditions"],
    }


def extreme_weights(model: Model) -> Iterator[Payload]:
    """Every weight and bias at one end of its register, or each at either, or none but one."""
    nominal, random = Payload.nominal(model, np.full(model.n_cuts, 100)), np.random.default_rng(6)
    fields = [model.layout[name] for name in ("weights", "biases")]
    for w, b in itertools.product((0, 1), repeat=2):
        ends = {
            f.name: np.full(f.size, (f.type.min_raw, f.type.max_raw)[e]) for f, e in zip(fields, (w, b), strict=True)
        }
        yield nominal.replace(**ends)
    for _ in range(4):
        yield nominal.replace(**{f.name: random.choice([f.type.min_raw, f.type.max_raw], f.size) for f in fields})
    for i in range(0, fields[0].size, 3):
        yield nominal.replace(weights=np.arange(fields[0].size) == i, biases=np.zeros(fields[1].size))


def random_model(seed: int) -> Model:
    """A small network with sizes, types and modes drawn from all that a model allows."""
    rng = np.random.default_rng(seed)

    def whole(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    def modes(type: Fixed) -> Fixed:
        return replace(type, rounding=str(rng.choice(ROUNDINGS)), overflow=str(rng.choice(OVERFLOWS)))

    def any_type(integer: tuple[int, int], frac: tuple[int, int]) -> Fixed:
        whole_bits = whole(*integer)
        return modes(Fixed(whole_bits + whole(*frac), whole_bits, rng.random() < 0.7))

    def holding(given: Fixed) -> Fixed:
        integer = given.integer + 1
        return modes(Fixed(integer + max(given.frac, 0) + whole(0, 2), integer))

    def registers(result: Fixed) -> Registers:
        return Registers(Fixed(whole(6, 11), 2, bool(whole(0, 1))), any_type((3, 6), (-2, 5)), result)

    def dense(n_in: int, n_out: int) -> Dense:
        weight, bias = any_type((1, 2), (2, 4)), any_type((2, 5), (1, 4))
        return Dense(
            rng.integers(weight.min_raw, weight.max_raw + 1, (n_in, n_out)),
            rng.integers(bias.min_raw, bias.max_raw + 1, n_out),
            weight,
            bias,
            any_type((8, 12), (2, 9)),
            any_type((5, 8), (1, 4)),
            relu=bool(whole(0, 1)),
            sum_type=any_type((6, 9), (1, 5)) if whole(0, 1) else None,
        )

    n_pairs = whole(1, 4)
    kinds = [kind for _ in range(n_pairs) for kind in ("pt", "eta")] + ["phi"] * whole(0, 3)
    widths = [whole(4, 9) for _ in kinds]
    features = tuple(
        Feature(f"{kind}{i}", "object", kind, Fixed(width, width, bool(whole(0, 1))))
        for i, (kind, width) in enumerate(zip(kinds, widths, strict=True))
    )
    sizes = [len(features), *(whole(1, 6) for _ in range(whole(1, 4)))]
    layers = tuple(dense(n_in, n_out) for n_in, n_out in pairwise(sizes))
    latent = holding(layers[-1].result_type)
    kind = str(rng.choice(SCORES))
    center = tuple(rng.integers(latent.min_raw, latent.max_raw + 1, sizes[-1]).tolist())
    total = modes(Fixed(whole(14, 20), whole(12, 16), signed=False))
    return Model(
        f"random {seed}",
        features,
        (Rings("object", whole(0, 4), 1 << whole(0, 4)),) if whole(0, 1) else (),
        registers(modes(Fixed(11 + whole(0, 4), 11))),
        Normalisation(
            rng.integers(-1, 4, len(features)),
            rng.integers(-20, 20, len(features)),
            any_type((8, 11), (1, 4)),
            any_type((8, 11), (1, 4)),
            any_type((6, 9), (-1, 3)),
        ),
        layers,
        registers(latent),
        Score(kind, center if kind == "squared_distance" else None, any_type((10, 16), (0, 6)), total),
        registers(modes(total)),
        lut_bits=whole(0, 6),
        n_cuts=whole(1, 4),
    )


def random_casts() -> list[tuple[Fixed, Fixed]]:
    """Two random pairs of types for every rounding, overflow and sign of the target."""
    rng = np.random.default_rng(12)

    def sizes(low: int, high: int) -> tuple[int, int]:
        width = int(rng.integers(low, high))
        return width, int(rng.integers(-3, width + 4))

    return [
        (Fixed(*sizes(1, 40), bool(rng.integers(2))), Fixed(*sizes(2, 25), signed, rounding, overflow))
        for rounding, overflow, signed in itertools.product(ROUNDINGS, OVERFLOWS, (True, False))
        for _ in range(2)
    ]


def random_raws(rng: np.random.Generator, source: Fixed, target: Fixed) -> Integers:
    """Raws of the source: its extremes and zero, anything, and what lies half way between two of the target."""
    raw = rng.integers(source.min_raw, source.max_raw + 1, 500)
    dropped = source.frac - target.frac
    if 1 < dropped < source.width:
        raw[100:200] = (raw[100:200] >> dropped << dropped) + (1 << dropped - 1)
    raw[:3] = source.min_raw, source.max_raw, 0
    return raw
