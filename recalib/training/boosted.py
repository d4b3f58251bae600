"""A boosted forest that has learnt an encoder's anomaly score: for hardware that is given its trees at run time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from firmware.datapath.emulator import Emulator
from firmware.errors import ForestError
from firmware.extras import needed
from firmware.model import fpu
from firmware.model.forest import Column, Forest
from firmware.model.fpu import SHAPE
from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.arrays import Events, Floats
from recalib.errors import TrainingError
from recalib.progress import Progress
from recalib.training import encoder

SCORE_PER_NEPER = 20.0
"""The score is so many times ln(1 + the teacher's code): a third of a per cent per code of the score."""
RATE = 0.2
FEATURES, SHARE = 0.4, 0.5
"""Of the features, and of the events, that a split and a tree see."""
LEAF_EVENTS = 50
"""At least: few events with a high score would make a leaf that takes much of the unit's range."""
TAIL, TAIL_WEIGHT = 0.03, 20.0
"""The highest scores, where the cuts are, count more."""


def train(
    seed: int, events: Events, n_cuts: int, name: str = "forest", epochs: int = 10, progress: Progress = print
) -> Model:
    """Gradient-boosted trees that give the score of an encoder of the objects, on a logarithmic scale.

    The teacher is an encoder trained on the same events for `epochs`; the trees learn 20 ln(1 + code). Their mean,
    with which boosting begins and which conifer leaves out, is in the leaves of the first tree. The same arguments
    give the same model. After J. Friedman, Comput. Stat. Data Anal. 38 (2002) 367.

    Raises:
        TrainingError: if the teacher's training fails, or the trees' scores add up to more than the unit holds.
    """
    with needed("forests"):
        from sklearn.ensemble import GradientBoostingRegressor

    wanted = wanted_scores(encoder.train(seed, events, n_cuts, epochs=epochs, progress=progress), events)
    weights = np.where(wanted >= np.quantile(wanted, 1 - TAIL), TAIL_WEIGHT, 1.0)
    mean = float(np.average(wanted, weights=weights))
    booster = GradientBoostingRegressor(
        n_estimators=SHAPE.n_trees,
        max_depth=SHAPE.depth,
        learning_rate=RATE,
        max_features=FEATURES,
        subsample=SHARE,
        min_samples_leaf=LEAF_EVENTS,
        init="zero",
        random_state=seed,
    )
    booster.fit(events.astype(np.float32), wanted - mean, weights)
    model = fpu.model(name, _forest([tree.tree_ for tree in booster.estimators_[:, 0]], mean), n_cuts=n_cuts)
    found = Emulator(model).run(events, Payload.nominal(model, np.zeros(n_cuts, np.int64))).latent[:, 0]
    miss = np.abs(model.latent.result_type.value(found) - wanted).mean()
    progress(f"forest: {SHAPE.n_trees} trees of depth {SHAPE.depth}, off by {miss:.2f} on average")
    return model


def wanted_scores(teacher: Model, events: Events) -> Floats:
    """(n,) of the teacher, as the forest is to give them."""
    codes = Emulator(teacher).codes(events, Payload.nominal(teacher, np.zeros(teacher.n_cuts, np.int64)))
    return SCORE_PER_NEPER * np.log1p(codes)


def _forest(trees: Sequence[Any], mean: float) -> Forest:
    """scikit-learn's trees in the unit's numbers: thresholds rounded down, as both take x <= threshold to the left."""
    nodes = np.zeros((len(trees), SHAPE.n_nodes, len(Column)), np.int64)
    for i, tree in enumerate(trees):
        own = nodes[i, : tree.node_count]
        leaf = tree.children_left < 0
        score = RATE * tree.value[:, 0, 0] + (mean if i == 0 else 0.0)
        own[:, Column.THRESHOLD] = np.floor(np.ldexp(np.where(leaf, 0.0, tree.threshold), SHAPE.threshold_type.frac))
        own[:, Column.SCORE] = np.rint(np.ldexp(score, SHAPE.score_type.frac))
        own[:, Column.FEATURE], own[:, Column.LEFT], own[:, Column.RIGHT] = (
            tree.feature,
            tree.children_left,
            tree.children_right,
        )
        own[:, Column.IS_LEAF] = leaf
    try:
        return Forest.from_conifer(SHAPE, nodes)
    except ForestError as error:
        raise TrainingError(f"{error}: try another seed") from error
