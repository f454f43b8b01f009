"""The memory of a step, against tensors whose bytes are known."""

from collections.abc import Callable

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from medsynth.errors import InputError
from medsynth.machine.memory import StepMemory, fitting_batch_size, measure, peak_bytes

MIB = 2**20


def chain(blocks: int, recomputed: bool) -> Callable[[], None]:
    """Each block keeps two MiB for its backward pass, or only its input, of one MiB."""
    weight = torch.ones(MIB // 4, requires_grad=True)

    def block(x: torch.Tensor) -> torch.Tensor:
        return x.exp().sin()

    def work() -> None:
        x = weight * 1
        for _ in range(blocks):
            x = checkpoint(block, x, use_reentrant=False) if recomputed else block(x)
        x.sum().backward()

    return work


@pytest.mark.parametrize("blocks", [8, 16])
def test_the_peak_is_what_is_alive_at_once(blocks) -> None:
    # exp keeps its result, sin its input, which is the same; the last sin's result is freed after the sum.
    assert peak_bytes(chain(blocks, recomputed=False), 1e12) == pytest.approx((blocks + 2) * MIB, abs=2.1 * MIB)
    assert peak_bytes(chain(blocks, recomputed=True), 1e12) == pytest.approx((blocks + 4) * MIB, abs=2.1 * MIB)


def test_views_and_weights_are_not_counted_and_what_is_freed_is_no_more() -> None:
    weight = torch.ones(MIB)

    def work() -> None:
        for _ in range(5):
            view = weight.view(2, -1)
            doubled = 2 * view
            del doubled
        weight.add_(1)

    assert peak_bytes(work, 1e12) == 4 * MIB


def grows(images: int) -> None:
    """Takes 3 MiB whatever the number, and 2 for each image."""
    fixed = torch.ones(3 * MIB // 4)
    parts = [torch.ones(MIB // 2) for _ in range(images)]
    del fixed, parts


def test_a_step_is_a_fixed_part_and_one_for_each_image() -> None:
    step = measure(grows, 32, free=1024 * MIB, beside=5 * MIB)
    assert (step.fixed, step.each) == (8 * MIB, 2 * MIB) and step.of(10) == 28 * MIB
    # Memory for one image alone: all of it counts as that image's.
    assert measure(grows, 32, free=20 * MIB) == StepMemory(0, 5 * MIB)


def test_the_largest_halving_that_fits_is_taken() -> None:
    step = StepMemory(10 * MIB, MIB)
    assert fitting_batch_size(step, 128, 110 * MIB) == 64  # 70 % of it hold 67
    assert fitting_batch_size(step, 100, 110 * MIB) == 50
    assert fitting_batch_size(step, 128, MIB) == 1


def test_what_does_not_even_hold_one_image_is_refused_before_it_is_taken() -> None:
    taken = []

    def attempt(images: int) -> None:
        for _ in range(100):
            taken.append(torch.ones(MIB))

    with pytest.raises(
        InputError, match=r"one image at a time takes more than .* training\.gradient_checkpointing: true"
    ):
        measure(attempt, 8, free=20 * MIB)
    assert len(taken) <= 6


def test_another_error_of_a_step_is_not_taken_for_one_of_memory() -> None:
    def broken(images: int) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        measure(broken, 8, free=MIB)
