import numpy as np
import pytest
import torch

from recalib.solve.objective import Bins, Objective, kl, rho

EDGES = [0, 4, 8, 16, 40, 1024]
LSB = 1 / 16
P_REF = torch.tensor([0.3, 0.3, 0.2, 0.15, 0.05], dtype=torch.float64)


def drawn(n: int = 400, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.gamma(1.2, 0.8, n)), torch.from_numpy(random.uniform(0.5, 20, n))


def objective(form: str, beta: float = 100.0, delta: float = 0.05) -> Objective:
    scores, weights = drawn()
    return Objective(Bins.of(EDGES, LSB), P_REF, scores, weights, beta, delta, form)


def test_the_value_is_the_formula_written_out() -> None:
    """L = Σ w clip(s − s_ref, −δ, δ)/Σ w + β Σ p ln(p/p_ref), computed here by hand."""
    loss = objective("signed")
    scores = loss.s_ref * 1.1
    w = loss.weights.numpy()
    moved = np.clip((scores - loss.s_ref).numpy(), -0.05, 0.05)
    p = loss.bins.probabilities(scores, loss.weights).numpy()
    expected = (w * moved).sum() / w.sum() + 100 * (p * np.log(p / P_REF.numpy())).sum()
    assert float(loss(scores)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", ["signed", "absolute", "huber"])
def test_gradient_agrees_with_finite_differences(form: str) -> None:
    """In θ, for scores that are stretched, shifted and bent."""
    loss = objective(form)

    def value(theta: torch.Tensor) -> torch.Tensor:
        s = loss.s_ref
        return loss(s * torch.exp(theta[0]) + 0.01 * theta[1] + 0.02 * theta[2] * torch.sin(s))

    theta = torch.tensor([0.013, 0.7, -0.4], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(value(theta), theta)
    step = 1e-7
    for k, slope in enumerate(gradient.tolist()):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[k] = step
        with torch.no_grad():
            difference = float(value(theta + shift) - value(theta - shift)) / (2 * step)
        assert slope == pytest.approx(difference, rel=1e-4, abs=1e-6)


def test_signed_rho_rewards_lower_scores_and_the_alternatives_do_not() -> None:
    down = torch.tensor([-0.5])
    assert float(rho(down, 1.0)) < 0
    assert float(rho(down, 1.0, "absolute")) > 0
    assert float(rho(down, 1.0, "huber")) > 0
    with pytest.raises(ValueError, match="none of signed, absolute, huber"):
        rho(down, 1.0, "square")


def test_without_ramps_it_is_the_ordinary_histogram_of_codes() -> None:
    codes = torch.randint(0, 60, (5000,), generator=torch.Generator().manual_seed(1)).double()
    weights = torch.rand(5000, dtype=torch.float64) + 0.1
    p = Bins.of(EDGES, LSB, ramp=0.0).probabilities(codes * LSB, weights)
    expected = np.histogram(codes.numpy(), EDGES, weights=weights.numpy())[0]
    np.testing.assert_allclose(p.numpy(), expected / weights.sum().item(), atol=1e-12)


def test_soft_histogram_shares_every_event_and_loses_none() -> None:
    scores, weights = drawn(5000)
    bins = Bins.of(EDGES, LSB, ramp=1.0)
    p = bins.probabilities(scores, weights)
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-12)
    at_edge = bins.probabilities(bins.edges[:1], torch.ones(1))
    np.testing.assert_allclose(at_edge.numpy()[:2], [0.5, 0.5])


def test_tangent_is_the_derivative_of_the_probabilities() -> None:
    scores, weights = drawn()
    slopes = torch.stack([scores, torch.cos(scores)], dim=1)
    bins = Bins.of(EDGES, LSB)
    theta = torch.zeros(2, dtype=torch.float64)
    by_autograd = torch.func.jacrev(lambda t: bins.probabilities(scores + slopes @ t, weights))(theta)
    np.testing.assert_allclose(bins.tangent(scores, slopes, weights).numpy(), by_autograd.numpy(), atol=1e-12)


def test_kl_is_zero_on_itself_and_takes_empty_bins() -> None:
    assert float(kl(P_REF, P_REF)) == pytest.approx(0.0, abs=1e-15)
    assert float(kl(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.5, 0.5]).double())) == pytest.approx(np.log(2))
