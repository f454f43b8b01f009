"""Models in the registry: one version for each run of which images were released."""

import json
from pathlib import Path

import pytest

from medsynth.config import Tracking
from medsynth.errors import InputError
from tests.track.toys import INFO, METRICS, RELEASED, WEIGHTS, WEIGHTS_SHA256, client_of, log, make_results, runs


def test_released_model_is_registered_once_with_its_weights_and_scores(workdir: Path, monkeypatch) -> None:
    import mlflow

    tracking, results = Tracking(experiment="registry"), make_results(workdir, "registered")
    record = log(tracking, results, workdir / "log.json")
    assert record["model_version"] == "toy-registered/1"
    (workdir / "log.json").unlink()
    client = client_of(workdir)
    client.create_registered_model("chosen")  # a user may register the same run too, and keeps that
    client.create_model_version("chosen", client.get_run(record["run_id"]).info.artifact_uri, record["run_id"])
    assert log(tracking, results, workdir / "log.json") == record
    assert len(client.search_model_versions("name = 'chosen'")) == 1
    [version] = client_of(workdir).search_model_versions("name = 'toy-registered'")
    assert version.run_id == record["run_id"] and version.status == "READY"
    assert version.tags == {"medsynth.run_key": record["run_key"], "kid": "2.5", "recall _k_5_/normal": "0.5"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", record["tracking_uri"])
    folder = Path(mlflow.artifacts.download_artifacts("models:/toy-registered/1", dst_path=str(workdir / "got")))
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert json.loads((folder / "model.json").read_text()) == INFO
    (results["evaluation"] / "metrics.csv").write_text(METRICS.replace("2.5,", "2.4,"))
    assert log(tracking, results, workdir / "log.json")["model_version"] == "toy-registered/2"


@pytest.mark.parametrize(("kept", "wanted"), [(0, True), (3, False)], ids=["nothing released", "not wanted"])
def test_model_is_not_registered(workdir: Path, kept: int, wanted: bool) -> None:
    tracking = Tracking(experiment=f"private {kept}", register_models=wanted)
    record = log(tracking, make_results(workdir, "private", kept), workdir / "log.json")
    assert record["model_version"] is None
    assert client_of(workdir).search_registered_models() == []
    assert [path.name for path in workdir.glob("mlartifacts/**/model/*")] == ["model.json"]
    [run] = runs(workdir, f"private {kept}")
    assert len(run.inputs.dataset_inputs) == (2 if kept else 1)


def test_model_that_is_registered_later_is_logged_with_its_weights(workdir: Path) -> None:
    results = make_results(workdir, "late")
    log(Tracking(experiment="late", register_models=False), results, workdir / "log.json")
    record = log(Tracking(experiment="late"), results, workdir / "log.json")
    assert record["model_version"] == "toy-late/1"
    assert (workdir / "mlartifacts" / record["run_id"] / "artifacts/model/model.safetensors").is_file()


@pytest.mark.parametrize("of", ["weights", "release"])
def test_release_that_is_not_by_the_weights_is_refused(workdir: Path, of: str) -> None:
    results = make_results(workdir)
    if of == "weights":
        (results["train"] / "model.safetensors").write_bytes(b"others")
    else:
        (results["release"] / "metadata.csv").write_text(RELEASED + f"images/1.png,normal,50,n/a,{'0' * 64}\n")
    with pytest.raises(InputError, match=f"of the weights .{{12}}…, model.json of {WEIGHTS_SHA256[:12]}"):
        log(Tracking(), results, workdir / "log.json")
