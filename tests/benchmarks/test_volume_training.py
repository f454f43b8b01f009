import pandas as pd
import pytest
import training_speed
import volumes

from medsynth.errors import InputError


def here(work, *arguments):
    """In place of a process of its own, which would take seconds to start."""
    return work(*arguments)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(volumes, "apart", here)
    monkeypatch.setattr(volumes, "limit_memory", lambda: None)


def test_training_is_compared_and_memory_and_files_are_measured(in_this_process, monkeypatch, tmp_path):
    latent = {name: volumes.MEMORY[name] for name in ("haar", "latent")}
    monkeypatch.setattr(volumes, "MEMORY", latent)
    arguments = ["--sizes", "16", "--memory-size", "32", "--source-size", "24", "--stored-size", "16"]
    volumes.main([*arguments, "--volumes", "12", "--repeats", "1", "--threads", "1", "--out", str(tmp_path)])

    training = pd.read_csv(tmp_path / "training.csv").set_index("contender")
    assert tuple(training.reset_index()[list(volumes.SPEED_COLUMNS)]) == volumes.SPEED_COLUMNS
    ours, peer = (training.loc[name] for name in (volumes.OURS, volumes.PEER))
    assert ours["voxels_per_s"] == pytest.approx(16**3 / ours["seconds_per_step"], rel=1e-4)
    assert ours["ratio"] == pytest.approx(ours["voxels_per_s"] / peer["voxels_per_s"], rel=1e-4)

    memory = pd.read_csv(tmp_path / "memory.csv").set_index("setting")
    assert list(memory.index) == list(latent)
    assert (memory["before_step_gib"] <= memory["peak_memory_gib"] + 1e-3).all()

    preparing = pd.read_csv(tmp_path / "preparing.csv")
    assert set(preparing["contender"]) == set(volumes.PREPARING) and (preparing["volumes_per_s"] > 0).all()


def test_what_does_not_fit_is_noted_and_has_no_ratio(monkeypatch, tmp_path):
    monkeypatch.setattr(volumes, "apart", lambda *work: {"note": training_speed.TOO_LARGE})
    volumes.main(["--parts", "training", "--sizes", "96", "--out", str(tmp_path)])
    rows = pd.read_csv(tmp_path / "training.csv")
    assert rows["note"].tolist() == [training_speed.TOO_LARGE] * 2 and rows["ratio"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "speed"], "--parts: unknown 'speed', expected some of training, memory, preparing"),
        (["--warm-up", "-1"], "--warm-up: got -1, expected 0 or more"),
    ],
)
def test_a_bad_argument_is_one_line(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        volumes.main([*arguments, "--out", str(tmp_path)])
