"""The detector and its trigger primitives: from what happened to the Level-1 inputs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]

TAU = 2 * np.pi
PT_LSB = 0.5
"""GeV per p_T code."""


@dataclass(frozen=True, slots=True)
class ObjectType:
    """An object type: its columns, lowest p_T (GeV) and top code, η acceptance, η LSB, codes in φ."""

    columns: slice
    pt_min: float
    pt_top: int
    eta_max: float
    eta_lsb: float
    phi_codes: int


EG = ObjectType(slice(0, 4), 1.0, 511, 3.0, 0.0435, 144)
MU = ObjectType(slice(4, 8), 1.0, 511, 2.45, 0.010875, 576)
JET = ObjectType(slice(8, 18), 4.0, 2047, 5.0, 0.0435, 144)
OBJECTS = 18
MET_TOP = 4095
MET_PHI_CODES = 144
WIDTH = 3 * (1 + OBJECTS)

HOT_TOWER_ETA, HOT_TOWER_PHI, HOT_TOWER_PT = 1.6, 2.2, 25.0
DEAD_PHI_CENTRE = 4.0
RING_SPREAD = 0.4
SMEAR_PER_SHIFT = 0.4

_RINGS = np.linspace(-5, 5, 21)
_JET_RINGS, _EG_RINGS = np.random.Generator(np.random.PCG64(1964)).standard_normal((2, _RINGS.size))


@dataclass(frozen=True, slots=True)
class Response:
    """How far the detector is from nominal at one moment; the default is undrifted."""

    jet_energy_scale: float = 0.0
    eg_scale: float = 0.0
    met_noise: float = 0.0
    ageing: float = 0.0
    dead_phi: float = 0.0
    hot_tower: float = 0.0
    jet_pedestal: float = 0.0


NOMINAL = Response()


@dataclass(frozen=True, slots=True)
class Truth:
    """n events before the detector: p_T (GeV), η, φ (rad) of 4 e/γ, 4 µ, 10 jets, each (n, 18).

    p_T 0 is an absent object; objects need no order, and may be too soft for the trigger. `soft` (n, 2)
    is the unclustered part of MET in GeV and `resolution` (n,) its width, `interactions` (n,) their number;
    `smear` (n, 18) and `met` (n, 2) are unit normals, `tower` (n, 2) a uniform and an exponential number, and
    `field` seeds what each calorimeter region gets, for the detector to use: so one truth under two responses
    gives twins that differ by the response alone.
    """

    pt: Floats32
    eta: Floats32
    phi: Floats32
    soft: Floats32
    resolution: Floats32
    smear: Floats32
    met: Floats32
    tower: Floats32
    interactions: Floats32
    field: np.random.SeedSequence

    def __len__(self) -> int:
        return len(self.pt)


def digitise(truth: Truth, response: Response = NOMINAL) -> npt.NDArray[np.int16]:
    """The trigger's inputs (n, 57): MET, 4 e/γ, 4 µ, 10 jets × (p_T, η, φ) hardware integers.

    Objects are ordered by p_T within their type, absent ones are zero, p_T saturates at the top code.
    """
    pt, eta, phi = respond(truth, response)
    events = np.empty((len(truth), 1 + OBJECTS, 3), np.int16)
    events[:, 0] = _met(truth, response, pt[:, JET.columns], phi[:, JET.columns])
    for scale in (EG, MU, JET):
        part = scale.columns
        events[:, part.start + 1 : part.stop + 1] = _coded(scale, pt[:, part], eta[:, part], phi[:, part])
    return events.reshape(-1, WIDTH)


def respond(truth: Truth, response: Response) -> tuple[Floats32, Floats32, Floats32]:
    """p_T, η and φ of the objects after the drifts.

    An energy scale shifts p_T by shift·(1 + 0.4 f(η)), f a fixed random function, and smears it by
    0.4·|shift|; ageing loses the share ageing·(η/3)², at most 95 %, and smears by a third of it. A pedestal (GeV) is
    added to what each jet has left.
    """
    pt, eta, phi = truth.pt, truth.eta, truth.phi
    if response == NOMINAL:
        return pt, eta, phi
    pt = pt.copy()
    for scale, shift, rings in (
        (EG, response.eg_scale, _EG_RINGS),
        (JET, response.jet_energy_scale, _JET_RINGS),
    ):
        part, where, noise = pt[:, scale.columns], eta[:, scale.columns], truth.smear[:, scale.columns]
        if shift:
            part *= np.maximum(_shifted(shift, rings, where) + SMEAR_PER_SHIFT * abs(shift) * noise, 0)
        if response.ageing:
            part *= np.maximum(1 - _aged(response.ageing, where) * (1 + noise / 3), 0)
    if response.jet_pedestal:
        jets = pt[:, JET.columns]
        jets[jets > 0] = np.maximum(jets[jets > 0] + response.jet_pedestal, 0)
    if response.hot_tower:
        pt, eta, phi = _with_hot_tower(truth, response.hot_tower, pt)
    if response.dead_phi:
        distance = np.abs(np.mod(phi - DEAD_PHI_CENTRE + np.pi, TAU) - np.pi)
        pt *= distance > response.dead_phi / 2
    return pt, eta, phi


def mean_response(response: Response, eta: npt.ArrayLike) -> Floats32:
    """What is left of one GeV of hadrons at η, on average over the smearing."""
    where = np.asarray(eta, np.float32)
    left = _shifted(response.jet_energy_scale, _JET_RINGS, where) * (1 - _aged(response.ageing, where))
    return np.asarray(left, np.float32)


def soft_met(truth: Truth, response: Response) -> Floats32:
    """The unclustered part of MET (n, 2) in GeV, with its noise."""
    if not response.met_noise:
        return truth.soft
    return truth.soft + response.met_noise * truth.resolution[:, None] * truth.met


def _shifted(shift: float, rings: npt.NDArray[np.float64], eta: Floats32) -> npt.NDArray[np.float64]:
    factor: npt.NDArray[np.float64] = 1 + shift * (1 + RING_SPREAD * np.interp(eta, _RINGS, rings))
    return factor


def _aged(ageing: float, eta: Floats32) -> Floats32:
    """The share of p_T that is lost."""
    return np.minimum(ageing * (eta / 3) ** 2, 0.95)


def _with_hot_tower(truth: Truth, probability: float, pt: Floats32) -> tuple[Floats32, Floats32, Floats32]:
    """A jet and an e/γ at the tower, in place of each type's last object."""
    eta, phi = truth.eta.copy(), truth.phi.copy()
    fires = truth.tower[:, 0] < probability
    for column in (EG.columns.stop - 1, JET.columns.stop - 1):
        pt[fires, column] = HOT_TOWER_PT * (1 + truth.tower[fires, 1])
        eta[fires, column], phi[fires, column] = HOT_TOWER_ETA, HOT_TOWER_PHI
    return pt, eta, phi


def _met(truth: Truth, response: Response, pt: Floats32, phi: Floats32) -> npt.NDArray[np.int16]:
    soft = soft_met(truth, response)
    x = soft[:, 0] - np.einsum("ij,ij->i", pt, np.cos(phi))
    y = soft[:, 1] - np.einsum("ij,ij->i", pt, np.sin(phi))
    met = np.zeros((len(pt), 3), np.int16)
    met[:, 0] = np.minimum(np.hypot(x, y) / PT_LSB, MET_TOP)
    met[:, 2] = _phi_code(np.mod(np.arctan2(y, x), TAU), MET_PHI_CODES)
    return met


def _coded(scale: ObjectType, pt: Floats32, eta: Floats32, phi: Floats32) -> npt.NDArray[np.int16]:
    """Codes (n, slots, 3), ordered by falling p_T: one integer per object, p_T first, is sorted."""
    pt_code = np.minimum(pt / PT_LSB, scale.pt_top).astype(np.int32) * (pt >= scale.pt_min)
    eta_code = np.rint(eta / scale.eta_lsb).astype(np.int32) & 0x3FF
    packed = (pt_code << 20 | eta_code << 10 | _phi_code(phi, scale.phi_codes)) * (pt_code > 0)
    packed.sort(axis=1)
    packed = packed[:, ::-1]
    signed_eta = ((packed >> 10 & 0x3FF) ^ 0x200) - 0x200
    return np.stack((packed >> 20, signed_eta, packed & 0x3FF), axis=2).astype(np.int16)


def _phi_code(phi: Floats32, codes: int) -> npt.NDArray[np.int32]:
    code: npt.NDArray[np.int32] = np.minimum(phi * (codes / TAU), codes - 1).astype(np.int32)
    return code
