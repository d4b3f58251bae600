"""A forest of decision trees as the words of a payload, proven before anything walks it.

The numbers are those of conifer's Forest Processing Unit (S. Summers et al., github thesps/conifer): an event with
x <= threshold goes left, thresholds and inputs are integers of one type, scores and their sum integers of another.
"""

import json
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware.errors import ForestError
from firmware.model.fixed import Fixed, Floats, Integers, Words

VALUE_BITS, CHILD_BITS, FEATURE_BITS = 16, 8, 7
INNER = 1 << 31
CHILD_AT, FEATURE_AT = VALUE_BITS, VALUE_BITS + CHILD_BITS
NODE_VALUE = Fixed(VALUE_BITS, VALUE_BITS)


class Column(IntEnum):
    """Of a node in conifer's format."""

    THRESHOLD = 0
    SCORE = 1
    FEATURE = 2
    LEFT = 3
    RIGHT = 4
    CLASS = 5
    IS_LEAF = 6


class Nodes(NamedTuple):
    """The parts of words: threshold or score, left child, feature, and whether there are children.

    The right child is the one behind the left one. A word of zero is a leaf of score 0.
    """

    value: Integers
    left: Integers
    feature: Integers
    inner: NDArray[np.bool_]

    @classmethod
    def of(cls, words: ArrayLike) -> Self:
        """The parts of words of any shape, each part in that shape."""
        w = np.asarray(words).astype(np.int64)
        return cls(
            NODE_VALUE.unpack(w),
            (w >> CHILD_AT) & ((1 << CHILD_BITS) - 1),
            (w >> FEATURE_AT) & ((1 << FEATURE_BITS) - 1),
            w >= INNER,
        )

    @property
    def words(self) -> Words:
        """The words that have these parts, in their shape."""
        value = NODE_VALUE.pack(self.value).astype(np.int64) & ((1 << VALUE_BITS) - 1)
        found = self.inner * INNER | self.feature << FEATURE_AT | self.left << CHILD_AT | value
        return np.asarray(found).astype(np.uint32)


@dataclass(frozen=True)
class Shape:
    """What the firmware has room for, one tree for each tree engine.

    Args:
        n_nodes: of each tree.
        depth: levels of decisions above the deepest leaf.
        threshold_type: of inputs and thresholds.
        score_type: of scores and of their sum.

    Raises:
        ForestError: if a node would not fit a word.
    """

    n_trees: int
    n_nodes: int
    depth: int
    n_features: int
    threshold_type: Fixed
    score_type: Fixed

    def __post_init__(self) -> None:
        for part, given, most in (
            ("n_trees", self.n_trees, 1 << 16),
            ("n_nodes", self.n_nodes, 1 << CHILD_BITS),
            ("depth", self.depth, self.n_nodes),
            ("n_features", self.n_features, 1 << FEATURE_BITS),
            ("the threshold's width", self.threshold_type.width, VALUE_BITS),
            ("the score's width", self.score_type.width, VALUE_BITS),
        ):
            if not 1 <= given <= most:
                raise ForestError(f"forest: {part} is {given}, expected 1 to {most}")
        if not (self.threshold_type.signed and self.score_type.signed):
            raise ForestError(f"forest: {self.threshold_type} and {self.score_type}: expected signed types")

    @property
    def size(self) -> int:
        """Words of a whole forest, n_trees · n_nodes."""
        return self.n_trees * self.n_nodes

    def prove(self, words: ArrayLike) -> None:
        """Show that every walk through these words (n_trees · n_nodes) ends in a leaf, and that no sum overflows.

        Children lie behind their parent, so that no walk returns; a leaf has no bits but its score.

        Raises:
            ForestError: naming tree, node and fault.
        """
        nodes = Nodes.of(np.reshape(words, (self.n_trees, self.n_nodes)))
        own = np.arange(self.n_nodes)
        threshold, score = self.threshold_type, self.score_type
        low = np.where(nodes.inner, threshold.min_raw, score.min_raw)
        high = np.where(nodes.inner, threshold.max_raw, score.max_raw)
        _refuse(nodes.inner & (nodes.left <= own), "its children are not behind it: a walk might never end")
        _refuse(nodes.inner & (nodes.left + 1 >= self.n_nodes), f"a child is outside the {self.n_nodes} nodes")
        _refuse(nodes.inner & (nodes.feature >= self.n_features), f"it cuts on none of the {self.n_features} features")
        _refuse(~nodes.inner & ((nodes.left > 0) | (nodes.feature > 0)), "it is a leaf with a child or a feature")
        _refuse((nodes.value < low) | (nodes.value > high), f"its value is outside {threshold} or {score}")
        _refuse(nodes.inner & (self._levels(nodes) >= self.depth), f"no leaf within {self.depth} decisions")
        least, most = (total.sum() for total in self.ends(nodes))
        if least < score.min_raw or most > score.max_raw:
            raise ForestError(
                f"forest: the trees' scores add up to {least} to {most}, beyond {score.min_raw} to {score.max_raw} "
                f"of {score}: a sum might overflow"
            )

    def _levels(self, nodes: Nodes) -> Integers:
        """Decisions above each node (n_trees, n_nodes), -1 where no walk comes."""
        levels = np.full(nodes.left.shape, -1)
        levels[:, 0] = 0
        for node in range(self.n_nodes):
            trees = np.flatnonzero(nodes.inner[:, node] & (levels[:, node] >= 0))
            for child in (nodes.left[trees, node], nodes.left[trees, node] + 1):
                levels[trees, child] = np.maximum(levels[trees, child], levels[trees, node] + 1)
        return levels

    def ends(self, nodes: Nodes) -> tuple[Integers, Integers]:
        """The least and the most that each tree (n_trees,) can give."""
        low, high = self.reach(nodes)
        return low[:, 0], high[:, 0]

    def reach(self, nodes: Nodes) -> tuple[Integers, Integers]:
        """The least and the largest score below each node (n_trees, n_nodes), of nodes whose children are behind."""
        low, high = nodes.value.copy(), nodes.value.copy()
        for node in reversed(range(self.n_nodes)):
            trees = np.flatnonzero(nodes.inner[:, node])
            left = nodes.left[trees, node]
            low[trees, node] = np.minimum(low[trees, left], low[trees, left + 1])
            high[trees, node] = np.maximum(high[trees, left], high[trees, left + 1])
        return low, high


def _refuse(wrong: NDArray[np.bool_], why: str) -> None:
    if wrong.any():
        tree, node = np.argwhere(wrong)[0]
        raise ForestError(f"tree {tree}, node {node}: {why}")


class Walker:
    """Walks events through words that are proven; every walk is of `depth` steps."""

    def __init__(self, shape: Shape, words: ArrayLike) -> None:
        nodes = Nodes.of(np.reshape(words, (shape.n_trees, shape.n_nodes)))
        first = np.arange(shape.n_trees)[:, None] * shape.n_nodes
        self._depth, self._roots = shape.depth, first[:, 0]
        self._next = np.where(nodes.inner, nodes.left + first, np.arange(shape.n_nodes) + first).ravel()
        self._threshold = np.where(nodes.inner, nodes.value, np.iinfo(np.int64).max).ravel()
        self._feature = nodes.feature.ravel()
        self._score = nodes.value.ravel()

    def __call__(self, x: NDArray[Any]) -> Integers:
        """The sum of the trees' scores (n,), a raw, for inputs (n, n_features) in units of the thresholds' lsb."""
        flat, at = np.ascontiguousarray(x).ravel(), np.arange(len(x))[:, None] * x.shape[1]
        node = np.broadcast_to(self._roots, (len(x), len(self._roots)))
        for _ in range(self._depth):
            right = flat.take(at + self._feature.take(node)) > self._threshold.take(node)
            node = self._next.take(node) + right
        return np.asarray(self._score.take(node).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Forest:
    """Proven words (n_trees · n_nodes,) of a shape.

    Raises:
        ForestError: naming tree, node and fault.
    """

    shape: Shape
    words: Words

    def __post_init__(self) -> None:
        words = np.array(self.words).astype(np.uint32)
        words.flags.writeable = False
        if words.shape != (self.shape.size,):
            raise ForestError(f"forest: words of shape {words.shape}, expected ({self.shape.size},)")
        object.__setattr__(self, "words", words)
        self.shape.prove(words)

    @cached_property
    def nodes(self) -> Nodes:
        """(n_trees, n_nodes)."""
        return Nodes.of(self.words.reshape(self.shape.n_trees, self.shape.n_nodes))

    @classmethod
    def from_conifer(cls, shape: Shape, nodes: ArrayLike, roots: ArrayLike | None = None) -> Self:
        """From conifer's packed nodes (engines, nodes, 7).

        What no walk looks at is left out: the score of a node with children, threshold, feature and children of one
        without, and nodes that no walk comes to. Nodes are numbered level by level, so that siblings are neighbours.

        Args:
            roots: (engines, most trees of one + 1), how many trees each engine has, and where each begins; without
                them each has one at its first node.

        Raises:
            ForestError: naming tree, node and fault; nodes have conifer's numbers.
        """
        given = np.asarray(nodes, dtype=np.int64)
        if given.ndim != 3 or given.shape[2] != len(Column):
            raise ForestError(f"forest: nodes of shape {given.shape}, expected (engines, nodes, {len(Column)})")
        starts = np.tile([1, 0], (len(given), 1)) if roots is None else np.asarray(roots, dtype=np.int64)
        trees = [(engine, int(root)) for engine, row in enumerate(starts) for root in row[1 : 1 + row[0]]]
        if len(trees) > shape.n_trees:
            raise ForestError(f"forest: {len(trees)} trees, but there is room for {shape.n_trees}")
        words = np.zeros((shape.n_trees, shape.n_nodes), np.uint32)
        for tree, (engine, root) in enumerate(trees):
            words[tree] = _level_by_level(shape, given[engine], root, tree)
        return cls(shape, words.ravel())

    def to_conifer(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """conifer's packed nodes (n_trees, n_nodes, 7) and roots (n_trees, 2), of an engine for each tree."""
        value, left, feature, inner = self.nodes
        columns = [np.where(inner, value, 0), np.where(inner, 0, value), feature, left, np.where(inner, left + 1, 0)]
        nodes = np.stack([*columns, np.zeros_like(value), ~inner], axis=2)
        return nodes.astype(np.int32), np.tile(np.array([1, 0], np.int32), (self.shape.n_trees, 1))

    @classmethod
    def from_json(cls, shape: Shape, text: str) -> Self:
        """From what conifer calls `nodes.json`.

        Raises:
            ForestError: if it is none, scales its inputs or scores, or is no forest of that shape.
        """
        try:
            found = json.loads(text)
            nodes, roots, scales = (np.array(found[name]) for name in ("nodes", "roots", "scales"))
            if not (scales == 1).all():
                raise ForestError(f"forest: scales from {scales.min()} to {scales.max()}: expected scales of 1")
            return cls.from_conifer(shape, nodes, roots)
        except (ValueError, KeyError, TypeError) as error:
            raise ForestError(f"forest: no nodes.json of conifer: {error!r}") from error

    def to_json(self) -> str:
        """What conifer calls `nodes.json`: an engine for each tree, and scales of 1."""
        nodes, roots = self.to_conifer()
        scales = [1.0] * (self.shape.n_features + 1)
        return json.dumps({"nodes": nodes.tolist(), "roots": roots.tolist(), "scales": scales})

    def scaled(self, thresholds: Floats, scores: float) -> Self:
        """With the thresholds on each feature times `thresholds` (n_features,), every score times `scores`.

        Rounded to the nearest; thresholds saturate.

        Raises:
            ForestError: if a sum of the scores might overflow.
        """
        value, left, feature, inner = self.nodes
        kind = self.shape.threshold_type
        moved = np.clip(np.rint(value * thresholds[feature * inner]), kind.min_raw, kind.max_raw)
        value = np.where(inner, moved, np.clip(np.rint(value * scores), NODE_VALUE.min_raw, NODE_VALUE.max_raw))
        return type(self)(self.shape, Nodes(value.astype(np.int64), left, feature, inner).words.ravel())


def _level_by_level(shape: Shape, given: Integers, root: int, tree: int) -> Words:
    """The words (n_nodes,) of one tree of conifer's nodes (nodes, 7)."""
    found: list[tuple[int, int, int, bool]] = []
    waiting, seen, numbered = deque([root]), set[int](), 1
    while waiting:
        node = waiting.popleft()
        if not 0 <= node < len(given):
            raise ForestError(f"tree {tree}, node {node}: it is outside the {len(given)} nodes")
        if node in seen:
            raise ForestError(f"tree {tree}, node {node}: two ways lead there, or a walk never ends")
        seen.add(node)
        threshold, score, feature, left, right, of_class, leaf = map(int, given[node])
        if of_class:
            raise ForestError(f"tree {tree}, node {node}: it is of class {of_class}, expected class 0 alone")
        kind, value = (shape.score_type, score) if leaf else (shape.threshold_type, threshold)
        if not kind.min_raw <= value <= kind.max_raw:
            raise ForestError(f"tree {tree}, node {node}: {value} is outside {kind}")
        if leaf:
            found.append((value, 0, 0, False))
            continue
        if not 0 <= feature < shape.n_features:
            raise ForestError(f"tree {tree}, node {node}: feature {feature}, expected 0 to {shape.n_features - 1}")
        if numbered + 2 > shape.n_nodes:
            raise ForestError(f"tree {tree}, node {node}: the tree has more than {shape.n_nodes} nodes")
        found.append((value, numbered, feature, True))
        waiting += left, right
        numbered += 2
    words = np.zeros(shape.n_nodes, np.uint32)
    words[: len(found)] = Nodes(*map(np.array, zip(*found, strict=True))).words
    return words
