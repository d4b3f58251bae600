"""How far a window is from the reference, and whether chance explains it."""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import chdtrc, rel_entr

from monitor.stats.binning import FloatArray, StatsError


def checked(counts: ArrayLike, p: ArrayLike, m: float) -> tuple[FloatArray, FloatArray]:
    """Counts and reference as float arrays of one shape; a StatsError where they are no such thing."""
    n, q = np.asarray(counts, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if n.shape != q.shape or n.ndim != 1 or len(n) < 2:
        raise StatsError(f"counts {n.shape} and p {q.shape}: expected the same number of bins, at least 2")
    if not (n >= 0).all() or not (q > 0).all() or abs(q.sum() - 1) > 1e-6:
        raise StatsError(f"expected counts >= 0 and p > 0 with sum 1: counts {n.tolist()}, p {q.tolist()}")
    if not n.sum() or not m > 0:
        raise StatsError(f"{n.sum():g} events against {m:g} reference events: expected at least one of each")
    return n, q


@dataclass(frozen=True)
class Divergence:
    """Distance of the current distribution f to the reference p, in nats.

    `kl_corrected` and `psi_corrected` are free of the mean that statistics alone give and can be
    negative. `p_value` is for no drift at all, `p_value_tolerated` for a drift of at most the
    tolerated KL; `dof` are the degrees of freedom of `chi2`.
    """

    n: int
    m: float
    kl: float
    kl_reverse: float
    psi: float
    kl_corrected: float
    psi_corrected: float
    chi2: float
    dof: int
    p_value: float
    p_value_tolerated: float

    @property
    def kl_error(self) -> float:
        """Standard deviation of `kl_corrected` without drift, √(2(B−1))/2 · (1/N + 1/M)."""
        return float(np.sqrt(2 * self.dof) / 2 * (1 / self.n + 1 / self.m))


def compare(counts: ArrayLike, p: ArrayLike, m: float = inf, *, tolerated: float = 0.0, phi: float = 1.0) -> Divergence:
    """Divergences of `counts` from a reference that is itself an estimate from `m` events.

    With f = counts/N and N' = NM/(N+M)::

        kl         = Σ f ln(f/p)                          KL(current ‖ reference)
        kl_reverse = Σ p ln(p/f)                          KL(reference ‖ current)
        psi        = Σ (f − p) ln(f/p)                    population stability index
        E[kl]      = (B−1)(1/N + 1/M)/2, E[psi] = (B−1)(1/N + 1/M)      without drift
        chi2       = 2 N' kl / φ  ~  χ²(B−1), noncentral by 2 N' δ / φ under a drift of KL δ

    An empty bin makes kl_reverse and psi infinite; they take f = (n + ½)/(N + B/2) instead.

    Parameters
    ----------
    counts
        (B,) events per bin.
    p
        (B,) reference probabilities, strictly positive.
    m
        Events behind p; `inf` for a p that is known.
    tolerated
        KL in nats that counts as no drift in `p_value_tolerated`.
    phi
        Overdispersion between blocks, see `overdispersion`: divides the evidence, scales the bias.

    Raises StatsError on shapes that differ, an empty window and a p that is no distribution.

    References
    ----------
    B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, J. Risk Model
    Validation 14 (2020) 89. S. S. Wilks, Ann. Math. Stat. 9 (1938) 60.

    Examples
    --------
    >>> d = compare([520, 480], [0.5, 0.5], m=1e6)
    >>> round(d.kl, 6), round(d.kl_reverse, 6), round(d.psi, 6), round(d.p_value, 3)
    (0.0008, 0.000799, 0.001598, 0.206)
    """
    if not phi >= 1 or not tolerated >= 0:
        raise StatsError(f"overdispersion {phi} and tolerated KL {tolerated}: expected at least 1 and 0")
    n, q = checked(counts, p, m)
    total, dof = n.sum(), len(n) - 1
    kl = float(rel_entr(n / total, q).sum())
    f = (n + 0.5) / (total + len(n) / 2)
    kl_reverse, psi = float(rel_entr(q, f).sum()), float(((f - q) * np.log(f / q)).sum())
    inverse_n = 1 / total + 1 / m
    bias = phi * dof * inverse_n
    chi2 = 2 * kl / inverse_n / phi
    p_value = float(chdtrc(dof, chi2))
    noncentral = 2 * tolerated / inverse_n / phi
    return Divergence(
        n=int(total),
        m=m,
        kl=kl,
        kl_reverse=kl_reverse,
        psi=psi,
        kl_corrected=kl - bias / 2,
        psi_corrected=psi - bias,
        chi2=chi2,
        dof=dof,
        p_value=p_value,
        p_value_tolerated=float(stats.ncx2.sf(chi2, dof, noncentral)) if tolerated else p_value,
    )


def overdispersion(blocks: NDArray[Any]) -> float:
    """φ >= 1: variance between the blocks (T, B) over the multinomial one.

    φ = Σ_tb (n_tb − N_t p_b)² / (N_t p_b) / ((T−1)(B−1)), p from all blocks together. Blocks should
    hold several events per bin. Bins that are empty in every block do not count.

    References
    ----------
    P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed. (1989), section 4.5.

    Examples
    --------
    >>> overdispersion(np.array([[60, 40], [40, 60]]))
    8.0
    """
    counts = np.asarray(blocks, dtype=np.float64)
    if counts.ndim == 2:
        counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if counts.ndim != 2 or min(counts.shape) < 2:
        raise StatsError(f"blocks {np.shape(blocks)}: expected at least two filled blocks and bins")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    dof = int((counts.shape[0] - 1) * (counts.shape[1] - 1))
    return max(1.0, chi2 / dof)
