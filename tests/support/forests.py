"""Forests that nobody trained."""

from collections import deque
from functools import cache

import numpy as np

from firmware.model import fpu
from firmware.model.fixed import Fixed
from firmware.model.forest import Forest, Nodes, Shape
from firmware.model.fpu import SHAPE
from firmware.model.model import Model

SMALL = Shape(4, 16, 3, 6, Fixed.parse("fixed<12,12>"), Fixed.parse("fixed<10,10>"))


def random_forest(shape: Shape, seed: int, inner: float = 0.95) -> Forest:
    """Each node has children with a probability of `inner`; scores are such that every sum fits."""
    random = np.random.default_rng(seed)
    words = np.zeros((shape.n_trees, shape.n_nodes), np.uint32)
    for tree in words:
        waiting, nodes, numbered = deque([0]), [], 1
        while waiting:
            level = waiting.popleft()
            if level < shape.depth and numbered + 2 <= shape.n_nodes and random.random() < inner:
                kind = shape.threshold_type
                edge = random.random() < 0.2
                value = (
                    random.integers(0, kind.max_raw // 4) if edge else random.integers(kind.min_raw, kind.max_raw + 1)
                )
                nodes.append((value, numbered, random.integers(shape.n_features), True))
                waiting += level + 1, level + 1
                numbered += 2
            else:
                most = shape.score_type.max_raw // shape.n_trees
                nodes.append((random.integers(-most, most + 1), 0, 0, False))
        tree[: len(nodes)] = Nodes(*map(np.array, zip(*nodes, strict=True))).words
    return Forest(shape, words.ravel())


@cache
def forest_model(seed: int = 3, lut_bits: int = 12, name: str = "forest") -> Model:
    return fpu.model(name, random_forest(SHAPE, seed), lut_bits)


def walked(forest: Forest, x: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> int:
    """The sum of the scores for one event (n_features,), one node after the other, from conifer's numbers."""
    total = 0
    for tree in forest.to_conifer()[0].tolist():
        node = tree[0]
        while not node[6]:
            node = tree[node[3] if x[node[2]] <= node[0] else node[4]]
        total += node[1]
    return total
