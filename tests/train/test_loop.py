import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from medsynth import config
from medsynth.artifacts.store import Store, digest
from medsynth.artifacts.tensors import read_tensors
from medsynth.config.families.consistency import Consistency, Distillation
from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.errors import InputError
from medsynth.models.checkpoint import difference, load_model
from medsynth.models.contract import Batch
from medsynth.train import loop
from medsynth.train import trainer as training
from medsynth.train.batches import Examples, derive_seed
from medsynth.train.loop import train
from medsynth.train.trainer import Trainer
from tests.conftest import settings_file

CPU = torch.device("cpu")


def settings(**options) -> config.TrainSettings:
    options = {"images": 64, "effective_batch_size": 8, "validate_every": 32, "patience": None} | options
    model = {"family": "diffusion", "stages": [{"channels": [8, 8]}, {"channels": [8]}], "training": options}
    return config.TrainSettings(seed=3, model=model)


def advance(trainer: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        trainer.advance()
        trainer.record(None)
    return trainer


def test_statistics_are_taken_of_few_images_at_a_time(store, monkeypatch):
    gathered, blocks = [], Examples.blocks

    def noting(self, rows, size):
        for block in blocks(self, rows, size):
            gathered.append(len(block))
            yield block

    monkeypatch.setattr(Examples, "blocks", noting)
    monkeypatch.setattr(training, "STATISTICS_BLOCK", 10)
    trainer = Trainer(settings(batch_size=1), store, CPU)
    assert gathered == [10, 10, 10, 2]
    images = store.split("train").intensities()
    assert trainer.model.stages[1].coarse_mean.item() == pytest.approx(images.mean(), rel=1e-4)


def test_the_learning_rate_warms_up_stays_and_decays(store):
    trainer = Trainer(settings(learning_rate=1.0, warmup=0.1, decay=0.5, images=1000), store, CPU)
    rates = []
    for trainer.images_seen in range(0, 1001, 50):
        rates.append(trainer.learning_rate())
    assert rates[0] < 0.02 and rates[1] == pytest.approx(0.5, abs=0.02)
    assert rates[2:11] == pytest.approx([1] * 9) and rates[15] == pytest.approx(0.5) and rates[20] == pytest.approx(0)


def test_the_learning_rate_falls_as_one_over_the_square_root_of_progress(store):
    options = {"learning_rate": 1.0, "warmup": 0.1, "schedule": "inverse_square_root", "images": 1000}
    trainer = Trainer(settings(**options), store, CPU)
    rates = {}
    for trainer.images_seen in (0, 50, 100, 400, 900):
        rates[trainer.images_seen] = trainer.learning_rate()
    assert list(rates.values()) == pytest.approx([0.01, 0.51, 1, 1 / 2, 1 / 3], abs=1e-6)
    with pytest.raises(ValidationError, match="falls from the warm-up on, got warmup 0"):
        settings(**options | {"warmup": 0})


def test_the_learning_rate_is_halved_when_two_validations_brought_no_gain(store, monkeypatch, tmp_path):
    options = {"learning_rate": 1.0, "warmup": 0, "schedule": "plateau", "images": 1000}
    trainer = Trainer(settings(**options), store, CPU)
    scores = iter([2.0, 2.0, 1.0, 1.5, 1.5, 1.2, 1.2, 1.2])
    monkeypatch.setattr(trainer.validation, "mean", lambda *args: next(scores))
    rates = []
    for _ in range(8):
        trainer.validate()
        rates.append(trainer.learning_rate())
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    trainer.save(tmp_path / "last.safetensors")
    resumed = Trainer(settings(**options), store, CPU)
    resumed.restore(tmp_path / "last.safetensors")
    assert (resumed.learning_rate(), resumed.stale) == (0.25, trainer.stale)
    monkeypatch.setattr(trainer.validation, "mean", lambda *args: None)
    with pytest.raises(InputError, match=r"training\.schedule: plateau follows a score, a diffusion model has none"):
        trainer.validate()
    with pytest.raises(ValidationError, match=r"patience: got 2, plateau halves .* after 2 validations"):
        settings(**options | {"patience": 2})


def test_minutes_end_a_training_before_its_images(store):
    trainer = Trainer(settings(minutes=0.5, images=10**6), store, CPU)
    trainer.seconds = 15.0
    assert trainer.progress == 0.5


def test_training_lowers_the_held_out_loss_and_uses_the_condition(store):
    trainer = Trainer(settings(images=2400, learning_rate=3e-3), store, CPU)
    before = trainer.validate()
    advance(trainer, 300)
    assert trainer.validate() < 0.95 * before  # of two stages, the details being noise
    trainer.model.load_state_dict(trainer.averages.now)
    table = pd.DataFrame({"pathology": ["low"] * 4 + ["high"] * 4})
    batch = Batch(trainer.spec.conditions.encode(table))
    images = trainer.model.sample(batch, range(8), DiffusionSampler(autoguidance=1))
    assert images[4:].mean() - images[:4].mean() > 0.4  # 0.76 in the data


def test_a_resumed_training_equals_an_unbroken_one(store, tmp_path):
    whole = advance(Trainer(settings(), store, CPU), 6)
    first = advance(Trainer(settings(), store, CPU), 3)
    first.save(tmp_path / "c.safetensors")
    second = Trainer(settings(), store, CPU)
    second.restore(tmp_path / "c.safetensors")
    advance(second, 3)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
        assert torch.equal(whole.averages.now[name], second.averages.now[name]), name
    strip = [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_s", "val_loss")} for row in whole.history
    ]
    assert strip == [{k: row[k] for k in strip[0]} for row in second.history]


def test_accumulated_batches_make_the_same_number_of_steps_and_images(store):
    parts = Trainer(settings(batch_size=3), store, CPU)
    means = parts.advance()
    assert parts.batch_size == 3 and parts.images_seen == 8 and parts.step == 1 and math.isfinite(means["total"])


def test_automatic_batch_size_shrinks_with_memory(store, monkeypatch):
    assert Trainer(settings(), store, CPU).batch_size == 8

    monkeypatch.setattr("medsynth.machine.devices.psutil.virtual_memory", lambda: SimpleNamespace(available=400_000))
    assert Trainer(settings(), store, CPU).batch_size == 1
    monkeypatch.setattr("medsynth.machine.devices.psutil.virtual_memory", lambda: SimpleNamespace(available=10_000))
    with pytest.raises(InputError, match="one image at a time takes more than the"):
        Trainer(settings(), store, CPU)


def test_one_bad_gradient_is_left_out_and_many_stop_the_training(store, monkeypatch):
    trainer = Trainer(settings(), store, CPU)
    honest = trainer.model.loss

    def broken(*args):
        return {name: term * math.nan for name, term in honest(*args).items()}

    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    monkeypatch.setattr(trainer.model, "loss", broken)
    trainer.advance()
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.model.state_dict().items())
    trainer.advance()
    with pytest.raises(InputError, match=r"step 2: 2 of the gradients of stage_1 in the last 2 steps were not finite"):
        trainer.record(None)


def test_early_stopping_keeps_the_best_weights(store, tmp_path, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    kept = {}

    def validate(self):
        loss = next(losses)
        if loss < self.best_loss:
            self.best_loss, self.stale = loss, 0
            self.averages.keep_best()
            kept["best"] = self.averages.best
        else:
            self.stale += 1
        return loss

    monkeypatch.setattr(Trainer, "validate", validate)
    train(settings(images=10_000, validate_every=8, patience=2), store, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["images_seen"].max() == 32 and history["val_loss"].min() == 1
    weights, _ = read_tensors(tmp_path / "model.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in kept["best"].items())


def test_training_leaves_a_model_that_loads_and_no_checkpoint(store, tmp_path):
    train(settings(), store, tmp_path)
    model, info = load_model(tmp_path / "model.safetensors", CPU)
    assert info.images_seen == 64 and info.store == store.info and not model.training
    assert not torch.equal(model.guide.stages[0].mix[1].weight, model.stages[0].mix[1].weight)
    assert not list(tmp_path.glob("checkpoints/*"))
    assert pd.read_csv(tmp_path / "history.csv").columns.tolist()[:3] == ["step", "images_seen", "seconds"]


def test_a_training_of_the_same_origin_is_not_repeated(store, tmp_path, monkeypatch):
    names = ("model.safetensors", "model.json", "history.csv")
    train(settings(), store, tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names:
        (tmp_path / name).unlink()  # as a workflow does before it runs a step again
    built = []
    monkeypatch.setattr(loop, "Trainer", lambda *args: built.append(args) or Trainer(*args))
    train(settings(), store, tmp_path)
    assert built == [] and {name: (tmp_path / name).read_bytes() for name in names} == whole
    other = Store(store.info.model_copy(update={"digest": "1" * 64}), store.images, None, store.samples)
    train(settings(), other, tmp_path)
    assert len(built) == 1


def test_a_training_that_is_taken_back_leaves_no_checkpoint_behind(store, tmp_path):
    train(settings(), store, tmp_path)
    last = tmp_path / "checkpoints/last.safetensors"
    Trainer(settings(), store, CPU).save(last)  # killed between keeping its results and removing this
    train(settings(), store, tmp_path)
    assert not last.exists()


def test_kept_results_that_are_damaged_are_not_used(store, tmp_path, caplog):
    train(settings(), store, tmp_path)
    whole = (tmp_path / "history.csv").read_bytes()
    (tmp_path / "history.csv").unlink()
    (tmp_path / "kept/history.csv").write_text("damaged")
    train(settings(), store, tmp_path)
    assert "damaged, training anew" in caplog.text
    assert (tmp_path / "history.csv").read_bytes().splitlines()[0] == whole.splitlines()[0]


def student() -> config.TrainSettings:
    training = Distillation(images=64, effective_batch_size=8, validate_every=32)
    model = Consistency(family="consistency", parents={"teacher": "t"}, steps=(3, 1), training=training)
    return config.TrainSettings(seed=3, model=model, parents={"teacher": settings().model})


def test_a_student_learns_from_the_trained_teacher_and_says_from_which(store, tmp_path):
    train(settings(), store, tmp_path / "teacher")
    weights = tmp_path / "teacher" / "model.safetensors"
    train(student(), store, tmp_path / "student", {"teacher": weights})
    model, info = load_model(tmp_path / "student" / "model.safetensors", CPU)
    teacher, of_teacher = load_model(weights, CPU)
    assert info.parents["teacher"].weights_sha256 == of_teacher.weights_sha256 and of_teacher.parents == {}
    assert info.images_seen == 64 + 64
    assert model.guide is None and not any("guide" in name for name in model.state_dict())
    learnt, taught = (
        torch.cat([p.flatten() for p in stage.parameters()]) for stage in (model.student.stages[0], teacher.stages[0])
    )
    assert 0 < (learnt - taught).norm() < 0.3 * taught.norm()  # it began as the teacher
    assert all(
        torch.equal(*pair)
        for pair in zip(model.student.stages[1].parameters(), teacher.stages[1].parameters(), strict=True)
    )
    history = pd.read_csv(tmp_path / "student" / "history.csv")
    assert history["loss"].notna().all() and "stage_2" not in history


def test_a_student_goes_on_from_its_checkpoint_and_only_with_the_same_teacher(store, tmp_path):
    weights = []
    for seed in (3, 4):
        folder = tmp_path / f"teacher{seed}"
        train(settings().model_copy(update={"seed": seed}), store, folder)
        weights.append(folder / "model.safetensors")
    train(student(), store, tmp_path / "unbroken", {"teacher": weights[0]})
    broken = advance(Trainer(student(), store, CPU, parents={"teacher": weights[0]}), 3)
    broken.save(tmp_path / "broken" / "checkpoints" / "last.safetensors")
    with pytest.raises(InputError, match=r"checkpoint of another parents\.teacher: .* remove .* to train anew"):
        train(student(), store, tmp_path / "broken", {"teacher": weights[1]})
    train(student(), store, tmp_path / "broken", {"teacher": weights[0]})
    (one, _), (other, _) = (read_tensors(tmp_path / name / "model.safetensors") for name in ("unbroken", "broken"))
    assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


def test_a_student_of_no_teacher_or_of_one_of_another_store_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="learns from a trained diffusion model, got none"):
        train(student(), store, tmp_path / "student")
    train(settings(), store, tmp_path / "teacher")
    other = Store(store.info.model_copy(update={"digest": "other"}), store.images, None, store.samples)
    with pytest.raises(InputError, match=r"trained on a store with digest .*, this one has other"):
        train(student(), other, tmp_path / "student", {"teacher": tmp_path / "teacher" / "model.safetensors"})


@pytest.mark.parametrize("change", [{"learning_rate": 1.0}, {"augmentation": {"shift": 0.5}}])
def test_a_checkpoint_of_another_configuration_is_refused(store, tmp_path, change):
    path = tmp_path / "checkpoints" / "last.safetensors"
    Trainer(settings(), store, CPU).save(path)
    with pytest.raises(InputError, match=rf"checkpoint of another settings\.model\.training\.{next(iter(change))}"):
        train(settings(**change), store, tmp_path)


@pytest.mark.parametrize("origin", ["store", "code"])
def test_a_checkpoint_of_other_data_or_code_is_refused(store, tmp_path, origin):
    other = Trainer(settings(), store, CPU)
    other.origin[origin] = "another"
    other.save(tmp_path / "checkpoints" / "last.safetensors")
    with pytest.raises(InputError, match=f"checkpoint of another {origin}: .* remove .* to train anew"):
        train(settings(), store, tmp_path)


def test_seeds_of_one_step_are_those_of_no_other():
    parts = [(0,), (0, 1), (1, 0), (0, 1, 0), (0, 1, 0, 0), (0, 0, 1)]
    assert len({derive_seed(*part) for part in parts}) == len(parts)


def test_a_difference_names_the_innermost_key():
    assert difference({"a": {"b": 1}}, {"a": {"b": 2}}, "x") == "x.a.b: it has 1, expected 2"
    assert difference(None, {"a": 1}, "x") == "x: it has None, expected {'a': 1}"


def write_store(store: Store, folder: Path) -> Path:
    """The store as `prepare` leaves it on disk."""
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", store.images)
    store.samples.to_csv(folder / "samples.csv", index=False)
    store.samples[["subject_id", "split"]].to_csv(folder / "split.csv", index=False)
    (folder / "quarantine.csv").write_text("source_row,image,column,value,reason\n")
    (folder / "duplicates.csv").write_text("source_row,image\n")
    info = store.info.model_copy(update={"digest": digest(folder, store.info)})
    (folder / "store.json").write_text(info.model_dump_json())
    return folder


@pytest.fixture
def store_folder(store, tmp_path) -> Path:
    return write_store(store, tmp_path / "store")


def start(
    store_folder: Path, out: Path, chosen: config.TrainSettings, launch: Sequence[str] = (sys.executable, "-m")
) -> subprocess.Popen:
    command = [*launch, "medsynth", "train", "--settings", str(settings_file(out.parent, chosen))]
    command += ["--store", str(store_folder), "--out", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_two_processes_train_as_one_does(store_folder, tmp_path):
    chosen = settings(images=160, batch_size=4, validate_every=80)
    start(store_folder, tmp_path / "one", chosen).communicate()
    launch = [sys.executable, "-m", "medsynth.machine.launch", "2", "-m"]
    two = start(store_folder, tmp_path / "two", chosen, launch)
    assert two.communicate()[1] is not None and two.returncode == 0
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    columns = ["step", "images_seen", "loss", "val_loss", "learning_rate"]
    pd.testing.assert_frame_equal(one[columns], two[columns], rtol=1e-3)


def test_the_loop_names_no_family():
    source = "".join(Path(module.__file__).read_text().lower() for module in (loop, training))
    assert not [word for word in ("diffusion", "edm", "gan", "vae") if word in source.replace("began", "")]
