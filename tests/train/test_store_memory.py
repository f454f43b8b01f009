"""Where the images of a training are: on the GPU, or in main memory where they do not fit."""

import logging

import pytest
import torch

from medsynth.train import batches
from medsynth.train.batches import STORE_SHARE, Examples

GPU = torch.device("meta")  # a device that is not the CPU, and holds anything
SIZE = 32 * 16 * 16 * 2  # bytes of the training images


def test_a_store_that_fits_is_on_the_device(store, monkeypatch, caplog):
    monkeypatch.setattr(batches, "free_on", lambda device: SIZE / STORE_SHARE)
    examples = Examples(store.split("train"), GPU)
    assert examples.images.device.type == "meta" and examples.gather([1, 2]).image.device.type == "meta"
    assert not caplog.messages


def refuse_the_store(monkeypatch) -> None:
    """Memory runs out where all the images are moved at once."""
    move = torch.Tensor.to

    def limited(self, *where, **how):
        if where == (GPU,) and self.dtype is torch.uint16 and self.nbytes == SIZE:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return move(self, *where, **how)

    monkeypatch.setattr(torch.Tensor, "to", limited)


@pytest.mark.parametrize("known", [True, False])
def test_a_store_that_does_not_fit_stays_and_its_batches_are_moved(store, monkeypatch, caplog, known):
    monkeypatch.setattr(batches, "free_on", lambda device: SIZE / STORE_SHARE - 4 if known else 10**12)
    refuse_the_store(monkeypatch)
    with caplog.at_level(logging.WARNING):
        examples = Examples(store.split("train"), GPU)
    assert caplog.messages == ["32 images (0 MB) stay in main memory: meta has no room for them"]
    assert examples.images.device.type == "cpu" and examples.condition.values.device.type == "cpu"
    batch = examples.gather([3, 1])
    assert batch.image.device.type == "meta" and batch.image.shape == (2, 1, 16, 16)
    assert batch.condition.values.device.type == "meta"
    blocks = torch.cat(list(examples.blocks(range(32), 10)))
    torch.testing.assert_close(blocks.numpy(), store.split("train").intensities())


def test_other_errors_are_not_taken_for_too_little_memory(store, monkeypatch):
    monkeypatch.setattr(batches, "free_on", lambda device: 10**12)

    def broken(self, *where):
        raise RuntimeError("invalid device ordinal")

    monkeypatch.setattr(torch.Tensor, "to", broken)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        Examples(store.split("train"), GPU)
