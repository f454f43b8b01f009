import numpy as np
import pandas as pd
import pytest

from medsynth.models.checkpoint import read_info
from medsynth.models.families.diffusion import DiffusionModel
from medsynth.models.families.stylegan import StyleganModel
from medsynth.train import loop
from medsynth.train.overfitting import overfitted_from
from tests.train.test_loop import settings


def history(held_out: list[float], total: list[float]) -> list[dict[str, float]]:
    """A row for each 100 images, a validation at every second one."""
    rows = []
    for number, loss in enumerate(total, start=1):
        validated = number % 2 == 0
        value = held_out[number // 2 - 1] if validated else np.nan
        rows.append({"images_seen": 100 * number, "total": loss, "val_loss": value})
    return rows


FALLING = list(np.linspace(1, 0.2, 12))


def test_a_held_out_loss_that_rises_while_the_training_loss_falls_says_from_where():
    assert overfitted_from(history([0.9, 0.7, 0.6, 0.65, 0.7, 0.8], FALLING)) == 600


@pytest.mark.parametrize(
    ("held_out", "total"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], FALLING),  # falls to the end
        ([0.9, 0.7, 0.6, 0.603, 0.602, 0.604], FALLING),  # rests, within its noise
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.8], FALLING),  # one validation alone
        ([0.9, 0.7, 0.6, 0.65, 0.7, 0.8], FALLING[::-1]),  # both rise: the training broke down
        ([np.nan] * 6, FALLING),  # a family without a score
    ],
)
def test_anything_else_is_not_called_so(held_out, total):
    assert overfitted_from(history(held_out, total)) is None


def test_too_short_a_training_says_nothing():
    assert overfitted_from([]) is None
    assert overfitted_from(history([0.5, 0.9], FALLING[:4])) is None


def test_a_model_of_four_images_of_noise_stops_early_and_says_from_where_on_it_overfitted(store, tmp_path, caplog):
    rows = store.samples.index[store.samples["split"] == "train"]
    store.samples.loc[rows[4:], "split"] = "test"
    chosen = {"images": 4096, "validate_every": 128, "patience": 4, "learning_rate": 1e-2}
    loop.train(settings(**chosen, augmentation={"probability": 0}), store, tmp_path)
    history, info = pd.read_csv(tmp_path / "history.csv"), read_info(tmp_path / "model.safetensors")
    best = history["images_seen"][history["val_loss"].argmin()]
    assert info.overfitted_from == best and history["images_seen"].max() == best + 4 * 128 < 4096
    assert info.val_loss == pytest.approx(history["val_loss"].min(), rel=1e-5)
    assert f"overfitted: the held-out loss was lowest after {best} of {best + 512} images" in caplog.text


def test_a_score_that_is_not_the_loss_tells_of_no_overfitting(store, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(loop, "overfitted_from", lambda history: 16)
    monkeypatch.setattr(loop.checkpoint, "save_model", lambda *args: said.append(args[-1]))
    monkeypatch.setattr(loop.kept, "keep", lambda *args: None)
    for its_loss in (True, False):
        monkeypatch.setattr(DiffusionModel, "scores_its_loss", its_loss)
        loop.train(settings(), store, tmp_path)
    assert said == [16, None] and not StyleganModel.scores_its_loss
