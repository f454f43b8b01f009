import numpy as np
import pytest

from medsynth.judges import batches as blocks
from medsynth.judges.batches import BLOCK, in_blocks
from medsynth.judges.features import extract
from medsynth.judges.thumbnails import GRID, thumbnails


@pytest.mark.parametrize("count", [0, 1, BLOCK, 2 * BLOCK + 1])
def test_a_block_is_never_larger_than_the_limit_and_nothing_is_lost(count: int) -> None:
    images = np.arange(count * 4, dtype=np.uint16).reshape(count, 1, 2, 2)
    sizes = []

    def doubled(block: np.ndarray) -> np.ndarray:
        sizes.append(len(block))
        return 2.0 * block[:, 0]

    assert np.array_equal(in_blocks(doubled, images), 2.0 * images[:, 0])
    assert max(sizes) <= BLOCK and sum(sizes) == count
    rows = np.arange(count)[::-3]
    assert np.array_equal(in_blocks(doubled, images, rows), 2.0 * images[rows, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_what_evaluation_makes_of_images_does_not_depend_on_the_blocks(monkeypatch, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 65536, (40, channels, 72, 80)).astype(np.uint16)
    rows = np.random.default_rng(1).permutation(40)[:20]

    def looked_at() -> list[np.ndarray]:
        return [thumbnails(images, GRID[2]), extract(images, rows)]

    whole = looked_at()
    monkeypatch.setattr(blocks, "BLOCK", 16)
    for one, other in zip(whole, looked_at(), strict=True):
        assert np.array_equal(one, other)
