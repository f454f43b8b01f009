"""Toy results of one dataset and model, logged as the two rules do, and the runs that are read back."""

import hashlib
import json
from pathlib import Path

from medsynth.config import Tracking, TrackSettings
from medsynth.track.track import initialise, log_run

HISTORY = "step,images_seen,seconds,loss,val_loss\n10,320,1.5,0.9,\n20,640,3.0,0.7,0.8\n"
FIGURES = ("contact_sheet.png", "curves.png", "adherence.png", "nearest.png")
METRICS = (
    "metric,value,ci_low,ci_high,floor,group\n"
    "kid,2.5,2.25,2.75,-0.5,\nrecall (k=5),0.5,,,,normal\naccuracy,0.75,,,,pathology=normal\n"
)
GATES = (
    "gate,result,metric,group,value,ci_low,ci_high,floor,n_real,n_synthetic,expected,note,waived\n"
    "integrity,pass,verdicts,,,,,,,,,,\nfidelity,insufficient,kid,all,,,,,,,,12 subjects,\n"
    "diversity,pass,kid,all,0.5,,,,,,,,why\ndiversity,fail,coverage,all,0.5,,,,,,at least 0.8,,why\n"
)
WEIGHTS = b"weights"
WEIGHTS_SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
DATA_SHA256 = "d1" * 32
CONDITIONS = {
    "pathology": {"kind": "categorical", "values": ["normal", "nodule"]},
    "age": {"kind": "number", "range": [0, 100]},
    "lesion": {"kind": "lesions"},
}
STORE = {"digest": DATA_SHA256, "rows_out": 40, "modality": "ct", "size": [8, 8], "conditions": CONDITIONS}
INFO = {"settings": {"seed": 1, "model": {"channels": [8, 16]}}, "weights_sha256": WEIGHTS_SHA256, "store": STORE}
RELEASED = "file_name,pathology,predicted_age,lesion_x,generator_sha256\n"


def make_results(folder: Path, model: str = "diffusion", kept: int = 3) -> dict[str, Path]:
    steps = ("train", "tune", "evaluate", "release")
    train, tune, evaluation, release = (folder / step / "toy" / model for step in steps)
    store = folder / "prepare/toy"
    for path in (train, tune, evaluation, release, store):
        path.mkdir(parents=True, exist_ok=True)
    (store / "samples.csv").write_text("subject_id,pathology,age,lesion_x\n1,normal,50,0.5\n")
    (train / "model.safetensors").write_bytes(WEIGHTS)
    (train / "model.json").write_text(json.dumps(INFO))
    (train / "history.csv").write_text(HISTORY)
    (train / "strip.png").write_bytes(b"\x89PNG")
    (evaluation / "metrics.csv").write_text(METRICS)
    for name in FIGURES:
        (evaluation / name).write_bytes(b"\x89PNG")
    (tune / "tried.csv").write_text("setting,gain\nas configured,0\n")
    (tune / "tried.png").write_bytes(b"\x89PNG")
    (tune / "sampler.json").write_text("{}")
    (release / "generator.json").write_text(json.dumps({"sampler": {"steps": 7}}))
    (release / "README.md").write_text("# card\n")
    (release / "gates.csv").write_text(GATES)
    (release / "metadata.csv").write_text(RELEASED + f"images/1.png,normal,50,n/a,{WEIGHTS_SHA256}\n" * kept)
    (release / "SHA256SUMS").write_text(f"{kept} images of {model}\n")
    return {"store": store, "train": train, "tune": tune, "evaluation": evaluation, "release": release}


def track_settings(tracking: Tracking, configuration: str = "c0ffee") -> TrackSettings:
    return TrackSettings(tracking=tracking, datasets=("toy",), configuration_sha256=configuration)


def log(tracking: Tracking, results: dict[str, Path], out: Path, configuration: str = "c0ffee") -> dict:
    """What the two rules do; returns the record of the run."""
    initialise(track_settings(tracking, configuration), out.with_name("initialised.json"))
    log_run(tracking, out.with_name("initialised.json"), **results, out=out)
    return json.loads(out.read_text())


def log_when_all_are_ready(barrier, *arguments) -> None:
    barrier.wait()
    log_run(*arguments)


def client_of(folder: Path):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def runs(folder: Path, experiment: str, parents: bool = False) -> list:
    """The runs of datasets and models, or those of whole workflows."""
    client = client_of(folder)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return [run for run in found if ("dataset" not in run.data.tags) == parents]
