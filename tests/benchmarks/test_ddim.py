import math

import ddim
import pytest
import torch


def alphas_cumprod() -> torch.Tensor:
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def gaussian(deviation: float):
    """The optimal noise predictor of data from N(0, deviation^2): E[epsilon | x_t]."""
    bars = alphas_cumprod()

    def predict(x, t):
        bar = bars[t].view(-1, 1)
        return (1 - bar).sqrt() / (bar * deviation**2 + 1 - bar) * x

    return predict


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm_solver", 2)])
@pytest.mark.parametrize("deviation", [0.3, 0.7])
def test_gaussian_data_get_their_deviation_at_the_order_of_the_solver(solver, order, deviation):
    # The exact map of the probability-flow ODE is linear: x_0 = deviation / sqrt(bar_T deviation^2 + 1 - bar_T) x_T.
    last = alphas_cumprod()[-1]
    exact = deviation / (last * deviation**2 + 1 - last).sqrt()
    errors = []
    for steps in (50, 100, 200):
        noise = torch.ones(1, 1, dtype=torch.float64)
        reached = ddim.sample(gaussian(deviation), noise, alphas_cumprod(), steps, solver, clip=False)
        errors.append(abs(math.log(float(reached / exact))))
    assert errors[0] < 0.1 and errors[2] < 0.6 ** (2 * order) * errors[0]


@pytest.mark.parametrize("solver", ddim.SOLVERS)
@pytest.mark.parametrize("steps", [5, 50])
def test_data_of_one_image_are_met_exactly_in_any_number_of_steps(solver, steps):
    bars = alphas_cumprod()

    def predict(x, t):
        bar = bars[t].view(-1, 1)
        return (x - 0.4 * bar.sqrt()) / (1 - bar).sqrt()

    noise = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = ddim.sample(predict, noise, bars, steps, solver)
    torch.testing.assert_close(images, torch.full_like(images, 0.4))


def test_with_every_timestep_it_is_monais_own_ddim():
    # There linspace and stride agree, and MONAI's scheduler is right.
    schedulers = pytest.importorskip("monai.networks.schedulers")
    theirs = schedulers.DDIMScheduler(num_train_timesteps=100, clip_sample=False)
    theirs.set_timesteps(100)

    def predict(x, t):
        return torch.sin(3 * x) * 0.5 + 0.2 * x + t.view(-1, 1) / 100

    noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(1))
    expected = noise
    for t in theirs.timesteps:
        expected, _ = theirs.step(predict(expected, t.expand(2)), int(t), expected)
    images = ddim.sample(predict, noise, theirs.alphas_cumprod, 100, "ddim", clip=False)
    torch.testing.assert_close(images, expected, rtol=1e-4, atol=1e-4)
