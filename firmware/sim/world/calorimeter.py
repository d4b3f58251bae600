"""The calorimeter's regions: the same crossing as the objects', in 18 φ × 14 η transverse energies."""

import numpy as np
import numpy.typing as npt

from firmware.model.cicada import N_ETA, N_PHI
from firmware.sim.world.detector import (
    DEAD_PHI_CENTRE,
    EG,
    JET,
    NOMINAL,
    TAU,
    Floats32,
    Response,
    Truth,
    mean_response,
    respond,
    soft_met,
)

REGIONS = N_PHI * N_ETA
ET_LSB = 0.5
"""GeV per code."""
ET_TOP = 1023

SOFT_ET = 3.0
"""Unclustered transverse energy of one interaction, GeV, over all η up to `SOFT_ETA`."""
SOFT_ETA = 5.0
CLUSTER_ET = 0.5
"""GeV; the softer, the more regions share the same energy."""

_SIDE = np.array([0.0, 0.348, 0.695, 1.044, 1.392, 1.74, 2.172, 3.0])
ETA_EDGES = np.concatenate([-_SIDE[:0:-1], _SIDE])
ETA_CENTRES = (ETA_EDGES[1:] + ETA_EDGES[:-1]) / 2
PHI_CENTRES = (np.arange(N_PHI) + 0.5) * (TAU / N_PHI)

_WIDE = np.concatenate([[-3.6], ETA_EDGES, [3.6]])
"""With a ring on either side that is not read out: part of a jet near the edge falls into it."""
_GRID = N_ETA + 4
"""Rings in which deposits are counted: those, and one more on either side for what is beyond."""
_INNER = slice(2, 2 + N_ETA)
_SHARE = (np.diff(ETA_EDGES) / (2 * SOFT_ETA * N_PHI)).astype(np.float32)
"""Of the soft energy, in one region of each ring."""
_COS, _SIN = (f(PHI_CENTRES).astype(np.float32)[:, None] for f in (np.cos, np.sin))
_MOST = 0.8
_CHUNK = 2048

RegionCodes = npt.NDArray[np.int16]


def regions(truth: Truth, response: Response = NOMINAL) -> RegionCodes:
    """Transverse energies (n, 252), codes 0 to 1023: region φ · 14 + η, η from -3 to 3.

    Jets share their p_T among the regions whose centres are nearest, muons leave nothing. Each interaction
    adds soft energy, evenly in η: clusters of `CLUSTER_ET` are so many that a region has any with the
    probability 1 - exp(-mean/`CLUSTER_ET`), and then an exponential amount. The soft energy leans to one side
    such that it balances the unclustered part of MET. Scales and ageing act on jets as they do on the objects,
    on the soft energy by their mean; a scale of e/γ acts on the part of a jet that is one.
    """
    random = np.random.Generator(np.random.PCG64(truth.field))
    codes = np.empty((len(truth), N_PHI, N_ETA), np.int16)
    pt, eta, phi = (array[:, JET.columns] for array in respond(truth, response))
    met = soft_met(truth, response)
    gain = mean_response(response, ETA_CENTRES)
    alive = _alive(response.dead_phi)[:, None]
    fragments = _fragments(truth, response)
    for start in range(0, len(truth), _CHUNK):
        part = slice(start, start + _CHUNK)
        energy = _soft(random, truth.interactions[part], met[part])
        energy *= gain
        energy += _deposited(pt[part], eta[part], phi[part])
        if fragments is not None:
            energy += _deposited(fragments[part], truth.eta[part, EG.columns], truth.phi[part, EG.columns])
        energy *= alive * (1 / ET_LSB)
        codes[part] = np.rint(np.clip(energy, 0, ET_TOP, out=energy), out=energy)
    return codes.reshape(-1, REGIONS)


def _soft(random: np.random.Generator, interactions: Floats32, met: Floats32) -> Floats32:
    """Energies (n, 18, 14) in GeV whose vector sum is -`met` (n, 2), as far as such a lean can be."""
    mean = SOFT_ET * interactions[:, None] * _SHARE
    occupied = np.maximum(-np.expm1(-mean / CLUSTER_ET), 1e-9)
    energy = random.standard_exponential((len(met), N_PHI, N_ETA), np.float32)
    energy += np.log(occupied)[:, None]
    np.maximum(energy, 0, out=energy)
    energy *= (mean / occupied)[:, None]
    by_phi = energy.sum(axis=2)
    total = np.maximum(by_phi.sum(axis=1), 1e-9)
    own = by_phi @ np.hstack([_COS, _SIN])
    lean = -2 * (met + own) / total[:, None]
    lean *= np.minimum(1, _MOST / np.maximum(np.hypot(*lean.T), 1e-9))[:, None]
    energy *= 1 + (lean @ np.hstack([_COS, _SIN]).T)[:, :, None]
    return energy


def _deposited(pt: Floats32, eta: Floats32, phi: Floats32) -> npt.NDArray[np.float64]:
    """Energies (n, 18, 14): each of the objects (n, k) is as wide as a region, and shared by those it overlaps."""
    across = np.interp(eta, _WIDE, np.arange(1, len(_WIDE) + 1)) - 0.5
    around = phi * (N_PHI / TAU) - 0.5
    ring, wedge = np.floor(across), np.floor(around)
    event = np.arange(len(pt))[:, None] * N_PHI
    cells, energies = [], []
    for up, high in ((0, around - wedge), (1, 1 - around + wedge)):
        row = (event + (wedge.astype(np.int64) + up) % N_PHI) * _GRID + ring.astype(np.int64)
        for out, wide in ((0, across - ring), (1, 1 - across + ring)):
            cells.append(row + out)
            energies.append(pt * (1 - high) * (1 - wide))
    grid = np.bincount(np.stack(cells).ravel(), np.stack(energies).ravel(), len(pt) * N_PHI * _GRID)
    return grid.astype(np.float64, copy=False).reshape(-1, N_PHI, _GRID)[:, :, _INNER]


def _fragments(truth: Truth, response: Response) -> Floats32 | None:
    """What a scale of e/γ adds to them (n, 4) in GeV; jets hold the rest of them already."""
    if not response.eg_scale:
        return None
    shifted, _, _ = respond(truth, Response(eg_scale=response.eg_scale))
    return shifted[:, EG.columns] - truth.pt[:, EG.columns]


def _alive(dead_phi: float) -> Floats32:
    """(18,) share of each region that is read out."""
    width = TAU / N_PHI
    away = np.abs(np.mod(PHI_CENTRES - DEAD_PHI_CENTRE + np.pi, TAU) - np.pi)
    return np.clip((away - dead_phi / 2) / width + 0.5, 0, 1).astype(np.float32) if dead_phi else np.ones(N_PHI, "f4")
