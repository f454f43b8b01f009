"""Known answers: the optimal denoiser of Gaussian data has a closed form, and its ODE an exact solution."""

import math

import pytest
import torch

from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.models.diffusion.guidance import breaks, guided
from medsynth.models.diffusion.solvers import NO_BREAKS, SOLVERS, noise_levels, schedule


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_solves_the_ode_of_gaussian_data(solver):
    # For x ~ N(mu, s^2): D(x; sigma) = (s^2 x + sigma^2 mu) / (s^2 + sigma^2), and the flow keeps
    # (x - mu) / sqrt(s^2 + sigma^2) constant, so that x0 = mu + (xT - mu) s / sqrt(s^2 + sigma_max^2).
    mu, s = 0.3, 0.5
    sigmas = noise_levels(5000 if solver == "euler" else 200, 80, 0.002, 7).double()
    start = 80 * torch.randn(64, 1, 2, 2, dtype=torch.float64)
    end = SOLVERS[solver](lambda x, sigma: (s**2 * x + sigma**2 * mu) / (s**2 + sigma**2), start, sigmas, NO_BREAKS)
    expected = mu + (start - mu) * s / math.sqrt(s**2 + 80**2)
    torch.testing.assert_close(end, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("dpm_solver", 2)])
def test_a_solver_has_its_order(solver, order):
    def error(steps: int) -> float:
        sigmas = noise_levels(steps, 10, 0.05, 7).double()[:-1]
        x = torch.ones(1, 1, dtype=torch.float64)
        end = SOLVERS[solver](lambda x, sigma: x / (1 + sigma**2), x, sigmas, NO_BREAKS)
        return float((end - ((1 + sigmas[-1] ** 2) / (1 + sigmas[0] ** 2)).sqrt()).abs())

    assert error(20) / error(40) == pytest.approx(2**order, rel=0.3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_extrapolated_across_a_break(solver):
    # A denoiser that is a constant on either side of a level: each of its flows is a straight line in sigma, which
    # every method follows exactly, in each part alone: x - c is in proportion to sigma.
    sigmas = noise_levels(6, 10, 0.1, 7).double()
    edge = float(sigmas[3])
    start = 10 * torch.randn(8, 1, dtype=torch.float64)

    def denoise(x, sigma):
        return torch.full_like(x, 2.0 if float(sigma) > edge else -1.0)

    at_edge = 2 + (start - 2) * edge / 10
    below = SOLVERS[solver](denoise, start, sigmas, {3})
    torch.testing.assert_close(below, torch.full_like(start, -1.0), atol=1e-9, rtol=0)
    stopped = SOLVERS[solver](denoise, start, sigmas[:4], {3})
    torch.testing.assert_close(stopped, at_edge, atol=1e-9, rtol=0)
    further = SOLVERS[solver](denoise, start, sigmas[:5], {3})
    torch.testing.assert_close(further, -1 + (at_edge + 1) * sigmas[4] / edge, atol=1e-9, rtol=0)


def test_the_schedule_falls_from_sigma_max_to_zero():
    sigmas = noise_levels(12, 80, 0.01, 7)
    assert sigmas[0] == pytest.approx(80) and sigmas[-2] == pytest.approx(0.01, rel=1e-3) and sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()


def test_the_last_entry_of_a_schedule_serves_the_stages_after_it_and_noise_falls():
    settings = DiffusionSampler(steps=(8, 4), sigma_max=(80,), sigma_min=(0.01, 0.1, 0.2))
    assert [schedule(settings, stage) for stage in (0, 1, 3)] == [(8, 80, 0.01), (4, 80, 0.1), (4, 80, 0.2)]
    with pytest.raises(ValueError, match="sigma_min 2 is not below sigma_max 1"):
        DiffusionSampler(sigma_max=(80, 1), sigma_min=(0.1, 2))
    with pytest.raises(ValueError, match="less than or equal to 80"):
        DiffusionSampler(sigma_max=(90,))


def test_guidances_add_up_and_act_between_two_levels():
    settings = DiffusionSampler(guided=(0.5, 5))
    x, levels = torch.ones(3, 1), torch.tensor([8.0, 5.0, 1.0, 0.4, 0.0])
    denoise = guided(lambda x, sigma: 3 * x, [(1.5, lambda x, sigma: x), (2.0, lambda x, sigma: 2 * x)], settings)
    torch.testing.assert_close(denoise(x, levels[1]), (3 + 0.5 * (3 - 1) + 1.0 * (3 - 2)) * x)
    torch.testing.assert_close(denoise(x, levels[0]), 3 * x)
    torch.testing.assert_close(denoise(x, levels[3]), 3 * x)
    assert breaks(settings, levels) == {1, 3}
