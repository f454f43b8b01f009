"""Bytes flipped in what a step left: found by digest or structure, in one line that says how to make it anew."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsynth.artifacts.shards import open_shards
from medsynth.artifacts.store import Store
from medsynth.cli import main
from medsynth.errors import InputError
from medsynth.train.trainer import Trainer
from tests.conftest import settings_file
from tests.faults.conftest import refused, release_arguments, sample_arguments
from tests.train.test_loop import CPU, settings, write_store


def flip(path: Path, position: int) -> Callable[[], None]:
    """Flip one bit of a file; call what is returned to mend it."""
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[position] ^= 0x10
    path.write_bytes(damaged)
    return lambda: path.write_bytes(whole) and None


@pytest.mark.parametrize("name", ["shard_0.npy", "shard_0.csv", "shard_0.json"])
def test_a_flipped_bit_of_a_shard_is_found_or_changes_nothing(fault, results, name) -> None:
    whole = open_shards(results["sample"])
    images, rows = whole.images[:], whole.rows
    size = (results["sample"] / name).stat().st_size
    tried = [*range(0, min(size, 500)), *range(500, size, 211)]
    found = 0
    for position in tried:
        mend = flip(results["sample"] / name, position)
        fault("bit flipped in a shard")
        try:
            got = open_shards(results["sample"])
        except InputError as error:
            assert "shard_0.npy" in str(error) and "sample it again" in str(error) and "\n" not in str(error)
            found += 1
        else:  # a blank of the record has become another
            assert name == "shard_0.json" and np.array_equal(got.images[:], images) and got.rows.equals(rows)
        mend()
    assert found == len(tried)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".json"])
def test_a_shard_without_one_of_its_files_is_one_line(fault, results, suffix) -> None:
    (results["sample"] / f"shard_1{suffix}").unlink()
    fault("part of a shard removed")
    with pytest.raises(InputError, match=r"shard_1\.npy: shard cannot be read .*; remove it and sample it again$"):
        open_shards(results["sample"])


def test_a_flipped_bit_of_a_checkpoint_is_found(fault, store, tmp_path: Path) -> None:
    folder = write_store(store, tmp_path / "store")
    last = tmp_path / "train/checkpoints/last.safetensors"
    chosen = settings(images=16)
    trainer = Trainer(chosen, Store.open(folder), CPU)
    trainer.advance()
    trainer.save(last)
    arguments = ["train", "--settings", settings_file(tmp_path, chosen), "--store", folder, "--out", tmp_path / "train"]
    size = last.stat().st_size
    for position in [0, 9, 100, 1000, size // 3, size // 2, size - 1]:
        mend = flip(last, position)
        fault("bit flipped in a checkpoint")
        message = refused(*arguments)
        assert "last.safetensors" in message and "remove it and make it again" in message
        assert not (tmp_path / "train/model.safetensors").exists()
        mend()
    last.unlink()
    main([str(argument) for argument in arguments])  # what the message asks for
    assert (tmp_path / "train/model.json").exists()


def test_a_flipped_bit_of_the_weights_is_found(fault, results) -> None:
    weights = results["train"] / "model.safetensors"
    size = weights.stat().st_size
    for position in [0, 9, 100, 1000, size // 2, size - 1]:
        mend = flip(weights, position)
        fault("bit flipped in the weights")
        message = refused(*sample_arguments(results))
        assert "model.safetensors" in message and ("train again" in message or "make it again" in message)
        mend()


@pytest.mark.parametrize("name", ["images.npy", "samples.csv"])
def test_a_flipped_bit_of_the_store_stops_the_steps_that_use_its_images(fault, results, name) -> None:
    path = results["store"] / name
    size = path.stat().st_size
    new = results["train"].with_name("new")
    chosen = settings_file(new.parent, settings(images=16))
    for position in [0, 60, 200, size // 2, size - 2]:
        mend = flip(path, position)
        fault("bit flipped in the store")
        message = refused("train", "--settings", chosen, "--store", results["store"], "--out", new)
        assert str(results["store"]) in message
        assert str(results["store"]) in refused(*release_arguments(results))
        assert not new.exists() and not results["release"].exists()
        mend()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *(("evaluate", "samples.csv"), ("evaluate", "metrics.csv"), ("gates", "gates.csv")),
        *(("train", "model.json"), ("store", "store.json")),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'{"a": 1, "b', b'a,b\n1,2\n1,2,3\n"'])
def test_a_table_or_record_that_is_cut_short_is_one_line(fault, results, folder, name, content) -> None:
    (results[folder] / name).write_bytes(content)
    fault("table or record damaged")
    assert name in refused(*release_arguments(results))
    assert not results["release"].exists()


def test_a_table_that_lacks_its_columns_is_one_line(fault, results) -> None:
    for name in ("samples.csv", "metrics.csv"):
        mend = (results["evaluate"] / name).read_bytes()
        (results["evaluate"] / name).write_text("a,b\n1,2\n")
        fault("table or record damaged")
        assert name in refused(*release_arguments(results))
        (results["evaluate"] / name).write_bytes(mend)
