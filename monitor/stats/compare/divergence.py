"""How far a window is from the reference, and whether chance explains it."""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.noncentral import chi2_tail, noncentrality_limits
from monitor.stats.errors import StatsError


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


@dataclass(frozen=True, eq=False)
class Divergence:
    """Distance of the current distribution f to the reference p, in nats.

    The `..._corrected` are free of the mean that statistics alone give and can be negative. `p_value`
    is for no drift at all, `p_value_tolerated` for a drift of at most the tolerated KL; `dof` are the
    degrees of freedom of `chi2`; `f` (B,) holds no zero, `p` (B,) is the reference.
    """

    f: FloatArray
    p: FloatArray
    n: int
    m: float
    phi: float
    kl: float
    kl_reverse: float
    psi: float
    js: float
    chi2: float
    dof: int
    p_value: float
    p_value_tolerated: float

    @property
    def unit(self) -> float:
        """φ (1/N + 1/M): without drift KL, PSI and JS are ½, 1 and ⅛ of this times χ²(B−1)."""
        return self.phi * (1 / self.n + 1 / self.m)

    @property
    def kl_corrected(self) -> float:
        """KL without the mean that statistics alone give it."""
        return self.kl - self.dof * self.unit / 2

    @property
    def psi_corrected(self) -> float:
        """PSI without the mean that statistics alone give it."""
        return self.psi - self.dof * self.unit

    @property
    def js_corrected(self) -> float:
        """Jensen–Shannon divergence without the mean that statistics alone give it."""
        return self.js - self.dof * self.unit / 8

    @property
    def kl_error(self) -> float:
        """Standard deviation of `kl_corrected` without drift, √(2(B−1))/2 · (1/N + 1/M)."""
        return sqrt(2 * self.dof) / 2 * self.unit

    def kl_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Confidence interval for the KL of the true distributions."""
        return self._interval(self.kl, 0.5, np.log(self.f / self.p), self.f / self.p, confidence)

    def psi_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Confidence interval for the PSI of the true distributions."""
        ratio, logs = self.f / self.p, np.log(self.f / self.p)
        return self._interval(self.psi, 1.0, logs - 1 / ratio, logs + ratio, confidence)

    def js_interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """For the Jensen–Shannon divergence; the distance is its root."""
        middle = (self.f + self.p) / 2
        slopes = np.log(self.f / middle) / 2, np.log(self.p / middle) / 2
        return self._interval(self.js, 1 / 8, *slopes, confidence)

    def _interval(
        self, value: float, scale: float, by_f: FloatArray, by_p: FloatArray, confidence: float
    ) -> tuple[float, float]:
        r"""D / (scale unit) is χ²(B−1, λ) for a small drift λ = D_true / (scale unit).

        Its variance is then 2(B−1) + 4λ. A large drift has Var_f(∂D/∂f)/N + Var_p(∂D/∂p)/M in place of
        4λ (the delta method; what statistics alone put there is taken off): the limits of λ are
        stretched about its estimate by the root of the ratio of the two.
        """
        small = scale * self.unit
        x = value / small
        noise = 4 * scale**2 * self.dof * self.unit
        by_delta = self.phi * (
            max(_variance(self.f, by_f) - noise, 0.0) / self.n + max(_variance(self.p, by_p) - noise, 0.0) / self.m
        )
        centre = max(x - self.dof, 0.0)
        stretch = sqrt((2 * self.dof + by_delta / small**2) / (2 * self.dof + 4 * centre))
        low, high = noncentrality_limits(x, self.dof, confidence)
        bottom = small * (centre - stretch * (centre - low)) if low else 0.0
        return max(0.0, bottom), small * (centre + stretch * (high - centre))


def compare(counts: ArrayLike, p: ArrayLike, m: float = inf, *, tolerated: float = 0.0, phi: float = 1.0) -> Divergence:
    """Divergences of `counts` from a reference that is itself an estimate from `m` events.

    With f = counts/N and N' = NM/(N+M)::

        kl         = Σ f ln(f/p)                          KL(current ‖ reference)
        kl_reverse = Σ p ln(p/f)                          KL(reference ‖ current)
        psi        = Σ (f − p) ln(f/p)                    population stability index
        js         = ½ Σ f ln(2f/(f+p)) + ½ Σ p ln(2p/(f+p))   Jensen–Shannon divergence
        E[kl], E[psi], E[js] = (B−1)(1/N + 1/M) · ½, 1, ⅛      without drift
        chi2       = 2 N' kl / φ  ~  χ²(B−1), noncentral by 2 N' δ / φ under a drift of KL δ

    The bias of `kl` is the same at any drift, to first order, if p is of Jeffreys' form (c + ½)/(M + B/2).
    An empty bin makes kl_reverse and psi infinite; they take f = (n + ½)/(N + B/2) instead.

    Args:
        counts: (B,) events per bin.
        p: (B,) reference probabilities, strictly positive.
        m: Events behind p; `inf` for a p that is known.
        tolerated: KL in nats that counts as no drift in `p_value_tolerated`.
        phi: Overdispersion between blocks, see `monitor.stats.compare.dispersion`: divides the evidence, scales
            the bias.

    Raises:
        StatsError: on shapes that differ, an empty window and a p that is no distribution.

    References:
        B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, J. Risk Model
        Validation 14 (2020) 89. S. S. Wilks, Ann. Math. Stat. 9 (1938) 60. J. Lin, Divergence measures
        based on the Shannon entropy, IEEE Trans. Inf. Theory 37 (1991) 145.

    Examples:
        >>> d = compare([520, 480], [0.5, 0.5], m=1e6)
        >>> round(d.kl, 6), round(d.kl_reverse, 6), round(d.psi, 6), round(d.p_value, 3)
        (0.0008, 0.000799, 0.001598, 0.206)
        >>> [round(limit, 4) for limit in compare([620, 380], [0.5, 0.5], m=1e6).kl_interval()]
        [0.0162, 0.0457]
    """
    if not phi >= 1 or not tolerated >= 0:
        raise StatsError(f"overdispersion {phi} and tolerated KL {tolerated}: expected at least 1 and 0")
    n, q = checked(counts, p, m)
    total, dof = n.sum(), len(n) - 1
    exact, f = n / total, (n + 0.5) / (total + len(n) / 2)
    middle = (exact + q) / 2
    kl = float(rel_entr(exact, q).sum())
    unit = phi * float(1 / total + 1 / m)
    chi2 = 2 * kl / unit
    p_value = chi2_tail(chi2, dof)
    return Divergence(
        f=f,
        p=q,
        n=int(total),
        m=m,
        phi=phi,
        kl=kl,
        kl_reverse=float(rel_entr(q, f).sum()),
        psi=float(((f - q) * np.log(f / q)).sum()),
        js=float((rel_entr(exact, middle).sum() + rel_entr(q, middle).sum()) / 2),
        chi2=chi2,
        dof=dof,
        p_value=p_value,
        p_value_tolerated=chi2_tail(chi2, dof, 2 * tolerated / unit) if tolerated else p_value,
    )


def _variance(p: FloatArray, values: FloatArray) -> float:
    return float(p @ values**2 - (p @ values) ** 2)
