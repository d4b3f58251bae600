"""A model as JSON and arrays: how it is written, and read back."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.errors import FixedPointError, ForestError, ModelError
from firmware.model.fixed import Fixed
from firmware.model.forest import Forest, Shape
from firmware.model.parts import Condition, Dense, Feature, Normalisation, Registers, Rings, Score

DEFINITION = 2
"""Of the datapath: what the words of a model and its registers mean. Part of the model's id."""
OPTIONAL = ("reconfigurable", "conditions", "forest")
"""What a description leaves out where it is not there: a model without it keeps its id."""


def described(value: Any) -> Any:
    """Dataclasses as dictionaries, types in their spelling, arrays left out."""
    match value:
        case Fixed():
            return str(value)
        case tuple():
            return [described(item) for item in value]
        case None | str() | bool() | int() | float():
            return value
    return {
        name: described(item)
        for name, item in vars(value).items()
        if name in value.__match_args__ and not isinstance(item, np.ndarray) and (item or name not in OPTIONAL)
    }


def parts(description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The parts of the model that was described, by the names of its fields.

    Raises:
        ModelError: if a part is missing, or the model is of another definition of the datapath.
    """
    try:
        _check_definition(description)
        return {
            "name": description["name"],
            "features": tuple(Feature(**_arguments(feature)) for feature in description["features"]),
            "rings": tuple(Rings(**rings) for rings in description["rings"]),
            "input": Registers(**_arguments(description["input"])),
            "normalisation": Normalisation(
                arrays["normalisation.shift"],
                arrays["normalisation.offset"],
                **_arguments(description["normalisation"]),
            ),
            "layers": tuple(
                Dense(arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"], **_arguments(layer))
                for i, layer in enumerate(description["layers"])
            ),
            "latent": Registers(**_arguments(description["latent"])),
            "score": Score(**_arguments(description["score"])),
            "output": Registers(**_arguments(description["output"])),
            "lut_bits": description["lut_bits"],
            "n_cuts": description["n_cuts"],
            "conditions": tuple(Condition(**_arguments(each)) for each in description.get("conditions", ())),
            "forest": (
                Forest(Shape(**_arguments(description["forest"]["shape"])), arrays["forest.words"])
                if "forest" in description
                else None
            ),
        }
    except (KeyError, TypeError, AttributeError, FixedPointError, ForestError) as error:
        raise ModelError(f"no description of a model: {error!r}") from error


def _check_definition(description: Mapping[str, Any]) -> None:
    if (definition := description.get("definition", 1)) != DEFINITION:
        raise ModelError(
            f"the model is of definition {definition} of the datapath, expected {DEFINITION}: make its package "
            "anew with driftd model train or import, and its firmware"
        )


def _arguments(description: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a dataclass, with types and tuples read back."""
    return {
        name: Fixed.parse(item) if name.endswith("type") and item else tuple(item) if isinstance(item, list) else item
        for name, item in description.items()
    }
