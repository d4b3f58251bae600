"""Comparing what a board says with what it should say."""

from dataclasses import asdict

import numpy as np

from firmware.board.board import Board, BoardState
from firmware.board.register_map import MAGIC, MAP_VERSION
from firmware.errors import IdentityError
from firmware.model.fixed import Words
from firmware.model.layout import Layout
from firmware.model.payload import Payload


def check_identity(board: Board, stream: str, model_id: str, layout: Layout, name: str) -> BoardState:
    """The state of a board that runs this model.

    Raises:
        IdentityError: naming each register that differs.
    """
    identity, state = board.identify(stream)
    expected = {"magic": MAGIC, "version": MAP_VERSION, "model_id": model_id, "n_words": layout.n_words}
    found = asdict(identity)
    differences = [
        f"{name} is {found[name]!r}, expected {value!r}" for name, value in expected.items() if found[name] != value
    ]
    if found["model_id"] != model_id:
        same = found["n_words"] == layout.n_words
        differences.append(
            "its bank has the same size, so weights, types, rings, names or definition differ"
            if same
            else "its bank has another size, so inputs, latent values, cuts or LUT differ"
        )
    if differences:
        raise IdentityError(f"{stream} on {name} is not what the payload is for: " + "; ".join(differences))
    return state


def difference(payload: Payload, read: Words) -> str | None:
    """How many words differ and which is the first, None if none does."""
    expected = payload.words
    if read.shape != expected.shape:
        return f"{read.size} words, expected {expected.size}"
    wrong = np.flatnonzero(read != expected)
    if not wrong.size:
        return None
    first = int(wrong[0])
    field = next(field for field in payload.layout.fields if first < field.words.stop)
    return (
        f"{wrong.size} of {expected.size} words, first {field.name}[{first - field.address}] "
        f"= {read[first]:#010x}, expected {expected[first]:#010x}"
    )
