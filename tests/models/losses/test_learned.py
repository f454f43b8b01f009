import pytest
import torch

from medsynth.models.contract import Batch
from medsynth.models.losses.learned import degraded, fit, shrunk, steps_of


def test_a_network_learns_from_the_budget_of_images_and_no_more_than_the_most_pixels():
    small, large = torch.zeros(16, 1, 64, 64), torch.zeros(16, 1, 256, 256)
    assert steps_of(1600, small, 10**12) == 100
    for images in (small, large):
        pixels = images.shape[2] * images.shape[3]
        assert steps_of(10**12, images, 10**8) * len(images) * pixels == pytest.approx(10**8, rel=0.01)
    assert steps_of(1, small, 10**8) == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_degraded_images_are_as_blurred_and_noisy_as_is_said(dims):
    torch.manual_seed(0)
    checks = (torch.stack(torch.meshgrid(*[torch.arange(20)] * dims, indexing="ij")).sum(0) % 2 * 2 - 1).float()
    image, amounts = degraded(checks.expand(6, 1, *checks.shape))
    assert amounts.shape == (6, 2) and amounts.min() >= 0 and amounts.max() <= 1
    inner = (slice(None), slice(None), *[slice(2, -2)] * dims)
    mean_of_window = checks[inner[2:]] / 5**dims
    for n, (blur, noise) in enumerate(amounts):
        expected = torch.lerp(checks[inner[2:]], mean_of_window, blur)
        assert (image[inner][n, 0] - expected).std().item() == pytest.approx(0.1 * noise.item(), abs=0.01)


def test_images_are_averaged_down_to_a_shape():
    image = torch.arange(32.0).view(1, 1, 4, 8)
    assert torch.equal(shrunk(Batch(None, image), (4, 8)), image)
    assert shrunk(Batch(None, image), (2, 4))[0, 0, 0].tolist() == [4.5, 6.5, 8.5, 10.5]


def test_fit_finds_the_slope_of_a_line():
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)
    batches = [Batch(None, torch.linspace(-1, 1, 8)[:, None])] * 1000
    fit(line, batches, len(batches), lambda batch: (line(batch.image) - batch.image / 2 + 0.2).square().mean())
    assert line.weight.item() == pytest.approx(0.5, abs=1e-3) and line.bias.item() == pytest.approx(-0.2, abs=1e-3)
    assert line.weight.grad is None
