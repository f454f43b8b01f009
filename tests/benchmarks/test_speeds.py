import argparse
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ceiling
import dag_scale
import pandas as pd
import prepare_speed
import process_scaling
import pytest
import sampling_speed
import torch
import training_speed

from medsynth import config
from medsynth.artifacts.store import Store
from medsynth.config.families.consistency import Consistency
from medsynth.config.families.diffusion import Diffusion
from medsynth.errors import InputError
from medsynth.models.checkpoint import ParentInfo, save_model
from medsynth.prepare.prepare import prepare
from medsynth.train.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize(("readings", "gflop"), [([0, 1, 10, 11], 2 * 0.256**3), ([0, 1, 10, 1010], 2 * 0.064**3)])
def test_the_ceiling_is_the_best_of_its_sizes(monkeypatch, readings, gflop):
    monkeypatch.setitem(ceiling.SIDES, "cpu", (64, 256))
    monkeypatch.setattr(ceiling, "time", SimpleNamespace(perf_counter=iter(readings).__next__))
    assert ceiling.matmul_gflops(CPU, torch.float32) == pytest.approx(gflop)


def test_training_speed_counts_the_operations_of_a_step(monkeypatch):
    monkeypatch.setitem(ceiling.SIDES, "cpu", (256,))
    row = training_speed.measure("medsynth", 64, 2, 1, CPU, "float32")
    larger = training_speed.measure("medsynth", 96, 2, 1, CPU, "float32")
    # Three stages at both sizes: the convolutions grow with the pixels, the embedding does not, attention grows faster.
    assert 2.2 < larger["gflop_per_image"] / row["gflop_per_image"] < 2.4
    assert row["gflop_per_s"] == pytest.approx(row["gflop_per_image"] * row["images_per_s"])
    assert row["share_of_ceiling"] == pytest.approx(row["gflop_per_s"] / row["ceiling_gflop_per_s"])


def too_large(name, size, batch_size, repeats, threads, precision):
    if batch_size > threads:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
    return {"batch_size": batch_size}


@pytest.mark.parametrize(
    ("fitting", "expected"),
    [(4, {"batch_size": 4}), (0, {"note": "one image does not fit into memory"})],
)
def test_a_batch_is_halved_until_it_fits(monkeypatch, fitting, expected):
    monkeypatch.setattr(training_speed, "attempt", too_large)
    monkeypatch.setattr(training_speed, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers))
    args = argparse.Namespace(batch_size=32, repeats=1, threads=fitting, device="cpu", precision="auto")
    row = training_speed.fitting_attempt("medsynth", 64, args)
    assert row == {"contender": "medsynth", "size": 64, "device": "cpu"} | expected


def test_sampling_speed_has_a_row_for_each_sampler_and_counts_its_evaluations(table, tmp_path):
    settings = config.PrepareSettings(
        seed=0,
        dataset="d",
        data_root=str(table.parent),
        source={"kind": "table", "table": table.name},
        modality="chest_xray",
        size=(32, 32),
        fit="pad",
        conditions={"finding": {"kind": "categorical", "values": ("normal", "nodule")}},
        label="finding",
        split=config.Split(),
    )
    prepare(settings, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    chosen = config.TrainSettings(
        seed=0, model=Diffusion(family="diffusion", stages=({"channels": [8]}, {"channels": [8]}))
    )
    trainer = Trainer(chosen, store, CPU)
    now = trainer.averages.now
    weights = now | {f"guide.{name}": tensor.clone() for name, tensor in now.items()}
    info = save_model(tmp_path, weights, store.info, chosen, {}, 0, 0.0, 1.0)
    student = Consistency(family="consistency", parents={"teacher": "t"})
    taught = config.TrainSettings(seed=0, model=student, parents={"teacher": chosen.model})
    student = {f"student.{name}": tensor for name, tensor in now.items()}
    parent = ParentInfo(
        weights_sha256=info.weights_sha256, store_sha256=store.info.digest, images_seen=0, simulated=True
    )
    save_model(tmp_path / "student", student, store.info, taught, {"teacher": parent}, 0, 0.0, 1.0)
    both = [tmp_path / "model.safetensors", tmp_path / "student/model.safetensors"]
    arguments = ["--checkpoints", *both, "--store", tmp_path / "store", "--out", tmp_path]
    arguments = [*map(str, arguments), "--samples", "4", "--threads", "1"]
    sampling_speed.main(
        [
            *arguments,
            "--steps",
            "2,6:3",
            "--solvers",
            "heun,dpm_solver",
            "--precisions",
            "float32",
            "--redraw",
            "2+0.8:1,:",
        ]
    )
    rows = pd.read_csv(tmp_path / "sampling_speed.csv")
    assert tuple(rows) == sampling_speed.COLUMNS
    counts = rows.set_index(["solver", "autoguidance", "steps"])[["evaluations", "finest_evaluations"]]
    expected = {("heun", 1, "2"): [3 + 3, 3], ("dpm_solver", 1, "6:3"): [6 + 3, 3]}
    # Of first order in the steps that end where guidance begins and where it ends.
    expected |= {("heun", 1, "6:3"): [11 - 2 + 5 - 2, 5 - 2]}
    # Guided where the noise is between 0.1 and 8: 7.3, 1.5 and 0.2 of the first stage's, 1.6 of the later one's.
    expected |= {("dpm_solver", 2, "6:3"): [6 + 3 + 3 + 1, 3 + 1]}
    students = rows[rows["family"] == "consistency"]
    assert students[["redraw", "steps", "evaluations"]].values.tolist() == [["2+0.8:1", "3:2", 5], [":", "1:1", 2]]
    assert len(counts) == 8 + 2 and {key: counts.loc[key].tolist() for key in expected} == expected
    assert (rows["images_per_s"] > 0).all() and (tmp_path / "sampling_speed.png").exists()
    with pytest.raises(InputError, match="--solvers: unknown 'rk4', expected some of euler, heun, dpm_solver"):
        sampling_speed.main([*arguments, "--solvers", "rk4"])
    with pytest.raises(InputError, match="--precisions: unknown 'int8', expected some of float32, bfloat16"):
        sampling_speed.main([*arguments, "--precisions", "int8"])


def test_prepare_speed_reads_every_format_with_every_contender(tmp_path):
    prepare_speed.main(
        ["--sizes", "32", "--images", "12", "--repeats", "1", "--processes", "1", "--out", str(tmp_path)]
    )
    rows = pd.read_csv(tmp_path / "prepare_speed.csv")
    assert tuple(rows) == prepare_speed.COLUMNS
    assert len(rows) == 9 and set(rows["format"]) == {"jpeg", "png", "dicom"} and (rows["images_per_s"] > 0).all()


def test_process_scaling_trains_the_same_images_on_every_number_of_processes(tmp_path):
    arguments = ["--processes", "2", "--size", "32", "--images", "32", "--repeats", "1"]
    process_scaling.main([*arguments, "--out", str(tmp_path)])
    rows = pd.read_csv(tmp_path / "process_scaling.csv")
    assert rows["processes"].tolist() == [1, 2] and rows["ratio_to_one"][0] == 1 and (rows["images_per_s"] > 0).all()


def test_dag_scale_counts_the_jobs_of_the_workflow(tmp_path):
    arguments = ["--datasets", "2", "--models", "1", "--shards", "3", "--repeats", "1"]
    dag_scale.main([*arguments, "--out", str(tmp_path)])
    row = pd.read_csv(tmp_path / "dag_scale.csv").iloc[0]
    assert row["jobs"] == 2 * 2 + 2 * (3 + 7) + 2  # prepare, reference; of a model; initialise and all
    assert row["seconds"] > 0 and row["peak_memory_mib"] > 10


def test_a_bad_number_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"--sizes: got 'x', expected a whole number above 0"):
        training_speed.main(["--sizes", "64,x", "--out", str(tmp_path)])
