import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medsynth.artifacts.shards import Joined, open_shards, shard_rows, write_shard
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
        write_shard(tmp_path / f"shard_{shard}.npy", images[part], rows[part])
    return tmp_path


def test_shards_come_back_in_the_order_of_the_ids(images, folder) -> None:
    shards = open_shards(folder)
    assert np.array_equal(shards.images[:], images)
    assert (shards.images.shape, shards.images.dtype, len(shards.images)) == (images.shape, np.uint16, COUNT)
    assert shards.rows["seed"].tolist() == [str(row) for row in range(COUNT)]
    assert shards.masks is None


@pytest.mark.parametrize(
    "rows",
    [slice(10, 40), slice(None, None, -7), [3, 190, 17, 3], np.arange(COUNT) % 5 == 0, np.array([], int), -1],
    ids=str,
)
def test_joined_is_indexed_as_one_array_is(rows) -> None:
    whole = np.random.default_rng(0).integers(0, 99, (COUNT, 2, 3))
    order = np.random.default_rng(1).permutation(COUNT)
    joined = Joined([whole[:50], whole[50:50], whole[50:51], whole[51:]], order)
    assert np.array_equal(joined[rows], whole[order][rows])
    with pytest.raises(IndexError):
        joined[COUNT]


def test_rows_that_are_out_of_order_keep_their_images(images, tmp_path: Path) -> None:
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in (3, 0, 4, 1, 2)]})
    write_shard(tmp_path / "shard_0.npy", images[[3, 0]], rows[:2], images[[3, 0], 0].astype(np.uint8))
    write_shard(tmp_path / "shard_1.npy", images[[4, 1, 2]], rows[2:], images[[4, 1, 2], 0].astype(np.uint8))
    shards = open_shards(tmp_path)
    assert np.array_equal(shards.images[:], images[:5])
    assert np.array_equal(shards.masks[:], images[:5, 0].astype(np.uint8))


def test_images_stay_on_the_disk_until_they_are_indexed(images, folder) -> None:
    open_shards(folder)  # what is imported at the first call does not count
    tracemalloc.start()
    try:
        shards = open_shards(folder)
        for row in range(COUNT):
            assert shards.images[row : row + 1].nbytes == images[0].nbytes
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < images.nbytes / 8


def test_a_shard_of_other_images_is_refused(images, folder) -> None:
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in range(16, 32)]})
    write_shard(folder / "shard_1.npy", images[16:32, :, :1, :1], rows)
    with pytest.raises(InputError, match=r"shard_1\.npy: images are uint16 \(1, 1, 1\), those of shard_0"):
        open_shards(folder)


def test_a_sample_that_comes_twice_is_refused(images, folder) -> None:
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in range(16)]})
    write_shard(folder / "shard_1.npy", images[:16], rows)
    with pytest.raises(InputError, match="sample_id d-m-000000 comes twice"):
        open_shards(folder)


def test_masks_of_some_shards_alone_are_refused(images, folder) -> None:
    rows = pd.DataFrame({"sample_id": [f"d-m-{row:06d}" for row in range(16, 32)]})
    write_shard(folder / "shard_1.npy", images[16:32], rows, images[16:32, 0].astype(np.uint8))
    with pytest.raises(InputError, match="1 of 12 shards have masks, expected all or none"):
        open_shards(folder)


def test_a_record_of_something_else_is_refused(folder) -> None:
    (folder / "shard_3.json").write_text(json.dumps({"rows_sha256": "a"}))
    with pytest.raises(InputError, match=r"shard_3\.npy: shard cannot be read \(its record has rows_sha256\)"):
        open_shards(folder)
