import pickle

import pytest
import torch

from medsynth.artifacts.tensors import read_tensors, write_tensors
from medsynth.errors import InputError
from medsynth.models.checkpoint import load_model
from medsynth.train.loop import train
from tests.train.test_loop import settings

CPU = torch.device("cpu")


def test_tensors_and_info_come_back(tmp_path):
    path = tmp_path / "deep" / "a.safetensors"
    write_tensors(path, {"x": torch.arange(6.0).view(2, 3).T}, {"step": 3, "loss": 0.1})
    tensors, info = read_tensors(path)
    assert torch.equal(tensors["x"], torch.arange(6.0).view(2, 3).T) and info == {"step": 3, "loss": 0.1}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.safetensors"]


def test_the_same_tensors_make_the_same_bytes(tmp_path):
    written = set()
    for copy in range(20):
        write_tensors(
            tmp_path / f"{copy}.safetensors", {"x": torch.ones(2), "y": torch.zeros(3)}, {"step": 3, "a": "b"}
        )
        written.add((tmp_path / f"{copy}.safetensors").read_bytes())
    assert len(written) == 1


def test_pickles_are_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    (tmp_path / "raw.safetensors").write_bytes(pickle.dumps(Trap()))
    torch.save({"x": torch.ones(1)}, tmp_path / "torch.safetensors")
    for name in ("raw", "torch"):
        with pytest.raises(InputError, match=rf"{name}\.safetensors: is a pickle, expected safetensors"):
            read_tensors(tmp_path / f"{name}.safetensors")


def test_weights_whose_first_byte_is_that_of_a_pickle_are_read(tmp_path):
    first_bytes = set()
    for padding in range(0, 300, 4):  # the header's length, the file's first number, is a multiple of 8
        write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(1)}, {"padding": "-" * padding})
        first_bytes.add((tmp_path / "a.safetensors").read_bytes()[0])
        assert read_tensors(tmp_path / "a.safetensors")[1]["padding"] == "-" * padding
    assert 0x80 in first_bytes


def test_damaged_and_missing_files_are_one_line(tmp_path):
    write_tensors(tmp_path / "a.safetensors", {"x": torch.ones(100)}, {})
    whole = (tmp_path / "a.safetensors").read_bytes()
    for cut in (0, 5, 60, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"cut\.safetensors: not a whole") as caught:
            read_tensors(tmp_path / "cut.safetensors")
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        read_tensors(tmp_path / "none.safetensors")


def test_weights_that_model_json_does_not_name_are_refused(store, tmp_path):
    train(settings(images=8), store, tmp_path)
    tensors, info = read_tensors(tmp_path / "model.safetensors")
    name = next(iter(tensors))
    write_tensors(tmp_path / "model.safetensors", tensors | {name: tensors[name] + 1}, info)
    with pytest.raises(InputError, match=r"model\.safetensors: sha256 is .* model\.json names"):
        load_model(tmp_path / "model.safetensors", CPU)
