import pytest
import torch

from medsynth.models.networks.blocks import CONV

SHAPES = {2: [(2, 6), (1, 4)], 3: [(2, 4, 4), (2, 2, 2), (1, 4, 4), (3, 2, 2), (6, 4, 4)]}


def fill_free_memory_with_nan():
    """What an operation reads without having written it is then not a number."""
    for exponent in range(10, 20):
        torch.full((2**exponent,), float("nan"))


def gradients(layer, x, like, dtype):
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        made = layer(x)
    assert made.dtype is dtype
    fill_free_memory_with_nan()
    made.backward(like.to(dtype))
    return [made.detach().float(), x.grad, layer.weight.grad.clone(), layer.bias.grad.clone()]


@pytest.mark.parametrize(("dims", "shape"), [(dims, shape) for dims, shapes in SHAPES.items() for shape in shapes])
def test_bfloat16_has_the_gradients_of_float32_however_small_the_image(dims, shape):
    torch.manual_seed(0)
    layer, x = CONV[dims](16, 24, 3, padding=1), torch.randn(4, 16, *shape)
    like = torch.randn(4, 24, *shape)
    expected = gradients(layer, x, like, torch.float32)
    for _ in range(3):  # memory that was not written to is another one each time
        for found, exact in zip(gradients(layer, x, like, torch.bfloat16), expected, strict=True):
            assert (found - exact).abs().max() < 0.02 * exact.abs().max()
