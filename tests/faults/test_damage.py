"""Bytes flipped in what a step left: found by digest or structure, in one line that says how to make it anew."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medsynth.artifacts.shards import read_shards
from medsynth.artifacts.store import Store
from medsynth.cli import main
from medsynth.errors import InputError
from medsynth.train.trainer import Trainer
from tests.faults.conftest import refused, release_arguments, sample_arguments
from tests.train.test_loop import CPU, settings, write_store


def flip(path: Path, position: int) -> Callable[[], None]:
    """Flip one bit of a file; call what is returned to mend it."""
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[position] ^= 0x10
    path.write_bytes(damaged)
    return lambda: path.write_bytes(whole) and None


@pytest.mark.parametrize("name", ["shard_0.npz", "shard_0.csv"])
def test_a_flipped_bit_of_a_shard_is_found_or_changes_nothing(fault, results, name) -> None:
    images, rows = read_shards(results["sample"])
    size = (results["sample"] / name).stat().st_size
    found = 0
    for position in [*range(0, min(size, 500)), *range(500, size, 211), *range(max(500, size - 300), size)]:
        mend = flip(results["sample"] / name, position)
        fault("bit flipped in a shard")
        try:
            got_images, got_rows = read_shards(results["sample"])
        except InputError as error:
            assert "shard_0.npz" in str(error) and "sample it again" in str(error) and "\n" not in str(error)
            found += 1
        else:  # a time in the archive, which nobody reads
            assert name == "shard_0.npz" and np.array_equal(got_images, images) and got_rows.equals(rows)
        mend()
    assert found > 0.5 * size if name.endswith("csv") else found > 600


def test_a_flipped_bit_of_a_checkpoint_is_found(fault, store, tmp_path: Path) -> None:
    folder = write_store(store, tmp_path / "store")
    last = tmp_path / "train/checkpoints/last.safetensors"
    chosen = settings(images=16)
    trainer = Trainer(chosen, Store.open(folder), CPU)
    trainer.advance()
    trainer.save(last)
    arguments = ["train", "--settings", chosen.model_dump_json(), "--store", folder, "--out", tmp_path / "train"]
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
    for position in [0, 60, 200, size // 2, size - 2]:
        mend = flip(path, position)
        fault("bit flipped in the store")
        message = refused(
            "train", "--settings", settings(images=16).model_dump_json(), "--store", results["store"], "--out", new
        )
        assert str(results["store"]) in message
        assert str(results["store"]) in refused(*release_arguments(results))
        assert not new.exists() and not results["release"].exists()
        mend()


@pytest.mark.parametrize(
    ("folder", "name"),
    [("evaluate", "samples.csv"), ("evaluate", "metrics.csv"), ("train", "model.json"), ("store", "store.json")],
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
