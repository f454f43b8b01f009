import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.shards import read_shards, shard_rows, write_shard
from medsynth.errors import InputError

COUNT, SHARDS = 192, 12


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (COUNT, 1, 128, 128), dtype=np.uint16)


@pytest.fixture
def folder(images, tmp_path: Path) -> Path:
    """Twelve shards: by name, the eleventh comes after the second."""
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in range(COUNT)], "seed": range(COUNT)})
    for shard in range(SHARDS):
        part = shard_rows(COUNT, shard, SHARDS)
        write_shard(tmp_path / f"shard_{shard}.npz", images[part], rows[part])
    return tmp_path


def test_shards_come_back_in_the_order_of_the_ids(images, folder) -> None:
    found, rows = read_shards(folder)
    assert np.array_equal(found, images) and found.dtype == np.uint16
    assert rows["seed"].tolist() == [str(row) for row in range(COUNT)]


def test_rows_that_are_out_of_order_keep_their_images(images, tmp_path: Path) -> None:
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in (3, 0, 4, 1, 2)]})
    write_shard(tmp_path / "shard_0.npz", images[[3, 0]], rows[:2])
    write_shard(tmp_path / "shard_1.npz", images[[4, 1, 2]], rows[2:])
    assert np.array_equal(read_shards(tmp_path)[0], images[:5])


def test_the_images_of_all_shards_are_in_memory_once(images, folder) -> None:
    read_shards(folder)  # what is imported at the first call does not count
    tracemalloc.start()
    try:
        read_shards(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert images.nbytes < peak < 1.3 * images.nbytes  # and one shard of twelve


def test_a_shard_of_other_images_is_refused(images, folder) -> None:
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in range(16, 32)]})
    write_shard(folder / "shard_1.npz", images[16:32, :, :1, :1], rows)
    with pytest.raises(InputError, match=r"shard_1\.npz: images are uint16 \(1, 1, 1\), those of shard_0"):
        read_shards(folder)
