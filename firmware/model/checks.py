"""Whether the parts of a model fit together: their shapes, and the types on either side of each of them."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from firmware.errors import FixedPointError, ModelError
from firmware.model.fixed import WORD_BITS, Fixed
from firmware.model.forest import Shape
from firmware.model.parts import Condition, Dense, Normalisation, Registers, Score

SCORES = ("sum_of_squares", "squared_distance", "linear")


def check_registers(part: str, registers: Registers, given: Fixed) -> None:
    """Registers must be able to change nothing, and their exact result must fit the integers."""
    with _named(part):
        registers.exact(given)
    if max(registers.scale_type.width, registers.offset_type.width) > WORD_BITS:
        raise ModelError(f"{part}: a register is wider than a word of {WORD_BITS} bits")
    if not registers.scale_type.holds(Fixed(1, 1, signed=False)):
        raise ModelError(f"{part}: a scale of {registers.scale_type} cannot be 1")
    if not registers.result_type.holds(given):
        raise ModelError(f"{part}: {registers.result_type} cannot hold every {given}")


def check_ring_scales(registers: Registers) -> None:
    """The product of an input scale and a ring's scale must fit the integers."""
    with _named("rings"):
        _ = registers.scale_type * registers.scale_type


def check_normalisation(normalisation: Normalisation, given: Fixed, n_features: int) -> None:
    """A shift and an offset for each feature, on numbers of the type `given`."""
    _expect(normalisation.shift.shape, (n_features,), "normalisation.shift")
    _expect(normalisation.offset.shape, (n_features,), "normalisation.offset")
    with _named("normalisation"):
        _ = given + normalisation.offset_type, normalisation.subtract_type * normalisation.scale_type


def check_forest(shape: Shape, given: Fixed, n_features: int) -> None:
    """A forest cuts on the features as the normalisation gives them, and they must not wrap."""
    if (shape.n_features, shape.threshold_type) != (n_features, given):
        raise ModelError(
            f"forest: it cuts on {shape.n_features} inputs of {shape.threshold_type}, but gets {n_features} of {given}"
        )
    if given.overflow != "SAT":
        raise ModelError(f"forest: inputs of {given} wrap where they are out of range: expected AP_SAT")


def check_layers(layers: Sequence[Dense], given: Fixed, n_in: int, conditioned: bool) -> None:
    """Each layer takes what the one before it gives; what registers hold is summed in a type that wraps.

    Args:
        given: type of the inputs.
        n_in: number of inputs, features and conditions.
        conditioned: whether some of them are conditions.
    """
    for i, layer in enumerate(layers):
        n_out = layer.bias.size
        _expect(layer.weight.shape, (n_in, n_out), f"layers.{i}.weight")
        _expect(layer.bias.shape, (n_out,), f"layers.{i}.bias")
        with _named(f"layers.{i}"):
            layer.weight_type.pack(layer.weight)
            layer.bias_type.pack(layer.bias)
            _ = given * layer.weight_type + layer.accum_type, layer.linear_type + layer.result_type
            if layer.reconfigurable:
                _check_reconfigurable(i, len(layers), conditioned)
            if (layer.reconfigurable or (conditioned and i == 0)) and not layer.wraps(given):
                raise ModelError(
                    f"layers.{i}: {layer.accum_type} accumulates what registers hold, expected one that wraps, of at "
                    f"least {given.frac + layer.weight_type.frac} fractional bits"
                )
        given, n_in = layer.result_type, n_out


def _check_reconfigurable(i: int, n_layers: int, conditioned: bool) -> None:
    if i + 1 < n_layers:
        raise ModelError(f"layers.{i}: only the last layer, {n_layers - 1}, can be reconfigurable")
    if i == 0 and conditioned:
        raise ModelError("layers.0: the layer that gets the conditions cannot be reconfigurable: give it one behind it")


def check_conditions(conditions: Sequence[Condition], first: Dense | None) -> None:
    """Conditions are raws of one type, each once, and add to the bias of the `first` layer without loss."""
    names = [condition.name for condition in conditions]
    if len(set(names)) != len(names):
        raise ModelError(f"conditions {', '.join(names)}: expected each once")
    for condition in conditions:
        part, kind = f"condition {condition.name}", condition.type
        if kind != conditions[0].type or kind.width > WORD_BITS:
            raise ModelError(f"{part}: {kind}, expected one type for all, of up to {WORD_BITS} bits")
        if not kind.min_raw <= condition.low <= condition.nominal <= condition.high <= kind.max_raw:
            raise ModelError(
                f"{part}: low {condition.low}, nominal {condition.nominal} and high {condition.high}: expected raws of "
                f"{kind} in this order"
            )
        if not (math.isfinite(condition.centre) and math.isfinite(condition.unit) and condition.unit > 0):
            raise ModelError(f"{part}: a unit of {condition.unit:g} about {condition.centre:g}, expected one above 0")
    if conditions and first is not None:
        with _named("conditions"):
            first.conditioned_bias_type(conditions)


def check_score(score: Score, latent: Fixed, n_latent: int) -> None:
    """A score of a known kind, an unsigned word, of `n_latent` values of the type `latent`."""
    if score.kind not in SCORES:
        raise ModelError(f"score {score.kind!r} is none of {', '.join(SCORES)}")
    if score.sum_type.signed or score.sum_type.width > WORD_BITS:
        raise ModelError(f"score: {score.sum_type} is no unsigned type of up to {WORD_BITS} bits")
    if (score.center is not None) != (score.kind == "squared_distance"):
        raise ModelError("score: a center belongs to squared_distance, and to it alone")
    with _named("score"):
        if score.center is not None:
            _expect((len(score.center),), (n_latent,), "score.center")
            latent.pack(score.center)
            latent = latent + latent
        _ = latent * latent, score.sum_type + score.term_type


def check_output(output: Registers, score: Score, lut_bits: int, n_cuts: int) -> None:
    """The code is of the score's size; a LUT has no more entries than there are codes; there is a cut."""
    code = output.result_type
    if (code.width, code.integer, code.signed) != (score.sum_type.width, score.sum_type.integer, False):
        raise ModelError(f"output: the result {code} differs in size from the score {score.sum_type}")
    check_registers("output", output, score.sum_type)
    if not 0 <= lut_bits <= code.width:
        raise ModelError(f"lut_bits {lut_bits} is outside 0 to {code.width}")
    if n_cuts < 1:
        raise ModelError("a model needs at least one cut")


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say which part of the model a type fault belongs to."""
    try:
        yield
    except FixedPointError as error:
        raise ModelError(f"{part}: {error}") from error


def _expect(shape: tuple[int, ...], expected: tuple[int, ...], part: str) -> None:
    if shape != expected:
        raise ModelError(f"{part} has shape {shape}, expected {expected}")
