"""Each simulated 2D modality by every 2D family, from its phantom to a released folder, and all of them in one DAG."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medsynth import config, registry
from medsynth.cli import main
from medsynth.images.modalities import MODALITIES
from medsynth.verify.verify import verify
from tests.conftest import settings_file
from tests.workflow.conftest import ROOT, snakemake

PHANTOMS = sorted(
    name
    for name, entry in registry.PHANTOMS.items()
    if name == entry.load().modality and MODALITIES[name].spatial_dims == 2
)
TRAINING = {"images": 64, "effective_batch_size": 16, "validate_every": 64, "precision": "float32"}
TUNING = {"candidates": 1, "images": 16}
MODELS = {
    "denoiser": {
        "family": "diffusion",
        "parents": {"initial": "none"},
        "stages": [{"channels": [8]}, {"channels": [8]}],
        "sampler": {"steps": [2, 2]},
    },
    "student": {"family": "consistency", "parents": {"teacher": "denoiser"}, "steps": [2, 1]},
    "gan": {"family": "stylegan", "channels": [16, 8, 8]},
    "vae": {"family": "vae", "channels": [8, 16], "prior_channels": 16},
    "vaegan": {"family": "vaegan", "channels": [8, 16], "prior_channels": 16, "discriminator_channels": [8, 8]},
    "latent": {"family": "latent_diffusion", "parents": {"autoencoder": "vae"}, "stages": [{"channels": [8]}]},
}


def example(phantom: str) -> dict:
    """The dataset of the example of a modality, so small that a test can run it."""
    path = "config/config.yaml" if phantom == "chest_xray" else f"config/examples/{phantom}.yaml"
    (dataset,) = yaml.safe_load((ROOT / path).read_text())["datasets"].values()
    assert dataset["source"]["phantom"] == dataset["modality"] == phantom
    counts = dict.fromkeys(dataset["plan"]["request"]["counts"], 2)
    return dataset | {
        "source": dataset["source"] | {"count": 90},
        "size": [32, 32],
        "split": {"train": 0.4, "val": 0.3, "test": 0.3},
        "plan": {"request": dataset["plan"]["request"] | {"counts": counts}, "shards": 1},
    }


def whole() -> dict:
    return {
        "seed": 3,
        "datasets": {name: example(name) | {"models": list(MODELS)} for name in PHANTOMS},
        "models": {name: {"training": TRAINING, "tuning": TUNING} | model for name, model in MODELS.items()},
        "judges": {"reader_epochs": 1, "readers": 1, "planted_copies": 4},
        "evaluation": {"bootstrap": 20},
    }


def test_all_six_modalities_have_a_phantom():
    assert sorted(name for name, modality in MODALITIES.items() if modality.spatial_dims == 2) == PHANTOMS


def test_one_dag_has_every_modality_by_every_family(tmp_path):
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(whole()))
    done = snakemake(ROOT, "--cores", "2", "--configfile", path, "--directory", tmp_path, "-n")
    assert done.returncode == 0, done.stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout.partition("Job stats:")[2], re.MULTILINE))
    runs = str(len(PHANTOMS) * len(MODELS))
    assert {jobs[rule] for rule in ("train", "tune", "sample", "evaluate", "gates", "release")} == {runs}
    assert jobs["prepare"] == jobs["reference"] == str(len(PHANTOMS))


@pytest.mark.parametrize("phantom", PHANTOMS)
def test_a_modality_is_released_by_every_family(phantom, tmp_path):
    chosen = config.parse(config.Config, whole(), "all.yaml")
    store, reference = tmp_path / "store", tmp_path / "reference"

    def step(name: str, settings, out: Path, **arguments: Path | str) -> Path:
        given = [part for key, value in arguments.items() for part in (f"--{key}", str(value))]
        main([name, "--settings", str(settings_file(tmp_path, settings)), "--out", str(out), *given])
        return out

    step("prepare", chosen.prepare(phantom), store)
    step("reference", chosen.reference(phantom), reference, store=store)
    parents: dict[str, dict[str, str]] = {}
    for model in MODELS:
        folder = tmp_path / model
        step("train", chosen.train(phantom, model), folder / "train", store=store, **parents.get(model, {}))
        known = {"store": store, "checkpoint": folder / "train/model.safetensors"}
        step("tune", chosen.tune(phantom, model), folder / "tune", reference=reference, **known)
        known["sampler"] = folder / "tune/sampler.json"
        step("sample", chosen.sample(phantom, model), folder / "samples/shard_0.npy", shard="0", **known)
        judged = {"store": store, "train": folder / "train", "samples": folder / "samples"}
        step("evaluate", chosen.evaluate(phantom), folder / "evaluation", reference=reference, **judged)
        judged |= {"sampler": known["sampler"], "evaluation": folder / "evaluation"}
        judged["gates"] = step("gates", chosen.judge(phantom), folder / "gates", **judged)
        released = step("release", chosen.release(phantom), folder / "release", **judged)
        assert verify(released) == []
        measured = set(pd.read_csv(folder / "evaluation/metrics.csv")["metric"])
        assert ({"psnr", "ssim", "ms_ssim"} <= measured) == (model.startswith("vae") or model == "latent")
        made_by = json.loads((released / "generator.json").read_text())["train"]["model"]["family"]
        assert made_by == MODELS[model]["family"]
        if model == "denoiser":
            parents["student"] = {
                "parent": f"teacher={known['checkpoint']}",
                "sampler": f"teacher={known['sampler']}",
            }
        if model == "vae":
            parents["latent"] = {"parent": f"autoencoder={known['checkpoint']}"}
