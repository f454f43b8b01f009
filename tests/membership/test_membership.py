"""A model that knows eight images by heart is found out, one that has learnt nothing is not; few subjects say so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medsynth import config
from medsynth.artifacts.store import Store, StoreInfo
from medsynth.config.membership import METRICS, Membership, MembershipSettings
from medsynth.disk import files
from medsynth.errors import InputError
from medsynth.membership.membership import membership
from medsynth.models.checkpoint import save_model
from medsynth.models.families.diffusion import DiffusionModel
from medsynth.train.trainer import Trainer

CPU = torch.device("cpu")
SIDE = 8
STEPS = 150
REPEATS = 150  # of canaries, by a model that knows nothing yet


def store_of(train: int, val: int, test: int, images: int = 1) -> Store:
    """Images of noise, smoothed a little, that have nothing in common: all that can be learnt of one is itself.

    Args:
        train, val, test: subjects; images: of each, all the same.
    """
    counts = {"train": train, "val": val, "test": test}
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (sum(counts.values()), 1, SIDE, SIDE))
    noise = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3)).repeat(images, 0)
    stored = (32768 + 6000 * noise).clip(0, 65535).astype(np.uint16)
    subjects = [f"{split}{number}" for split, count in counts.items() for number in range(count) for _ in range(images)]
    rows = range(len(subjects))
    samples = pd.DataFrame({
        "image": [f"{row}.png" for row in rows], "subject_id": subjects,
        "split": [split for split, count in counts.items() for _ in range(count * images)],
        "kind": "one", "affine": "",
    })  # fmt: skip
    info = StoreInfo(
        version=2, dataset="d", modality="ultrasound", simulated=True, size=(SIDE, SIDE), channels=1,
        conditions={"kind": {"kind": "categorical", "values": ("one", "other")}}, label="kind", structures={},
        rows_in=len(rows), rows_out=len(rows), rows_quarantined=0, digest=f"{counts} {images}",
    )  # fmt: skip
    return Store(info, stored, None, samples)


def weights_of(store: Store, folder: Path, steps: int) -> Path:
    """A small diffusion model after so many steps: without its average, so that it is what it learnt last."""
    training = {"images": STEPS * 8, "effective_batch_size": 8, "batch_size": 8, "precision": "float32"}
    training |= {"augmentation": {"probability": 0}, "decay": 0, "ema": 1e-6, "learning_rate": 1e-2}
    model = {"family": "diffusion", "parents": {"initial": "none"}, "codec": {"kind": "identity", "levels": 0}}
    model |= {"stages": [{"channels": [32]}], "training": training}
    settings = config.TrainSettings(seed=3, model=model)
    trainer = Trainer(settings, store, CPU)
    for _ in range(steps):
        trainer.advance()
    save_model(folder, trainer.averages.now, store.info, settings, {}, 8 * steps, 0.0, None)
    return folder / "model.safetensors"


def measured(store: Store, weights: Path, out: Path, **options) -> pd.DataFrame:
    chosen = Membership(**{"bootstrap": 100, "permutations": 199, **options})
    membership(MembershipSettings(seed=5, membership=chosen), store, weights, out)
    return pd.read_csv(out / "membership.csv", keep_default_na=False).set_index(["metric", "group"])


def number(table: pd.DataFrame, metric: str, group: str = "all", column: str = "value") -> float:
    return float(table.loc[(metric, group), column])


@pytest.fixture(scope="module")
def memorised(tmp_path_factory):
    """A store of eight training images, and a model that has seen each of them 150 times."""
    store = store_of(8, 40, 60)
    return store, weights_of(store, tmp_path_factory.mktemp("memorised"), STEPS)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    store = store_of(60, 70, 60)
    return store, weights_of(store, tmp_path_factory.mktemp("untrained"), 0)


@pytest.fixture(scope="module")
def found_out(memorised, tmp_path_factory) -> pd.DataFrame:
    return measured(*memorised, tmp_path_factory.mktemp("audit") / "out")


def test_a_model_that_knows_its_images_by_heart_is_found_out(found_out):
    assert number(found_out, "membership_auc") > 0.95
    assert number(found_out, "membership_p_value") <= 0.01
    note = found_out.loc[("membership_p_value", "all"), "note"]
    assert note.startswith("training subjects are told from held-out ones: p = 0.005, AUC ")  # eight are enough for it
    assert number(found_out, "membership_auc", column="floor") == number(found_out, "membership_floor_auc")
    assert 0.3 < number(found_out, "membership_floor_auc") < 0.7
    assert number(found_out, "canary_auc") >= 0.9 and 0.2 < number(found_out, "canary_auc", column="floor") < 0.8
    assert set(found_out.index.get_level_values("metric")) == set(METRICS)


def test_eight_training_subjects_are_too_few_to_conclude_from(found_out):
    for metric in ("membership_auc", "membership_tpr_at_fpr_1"):
        assert found_out.loc[(metric, "all"), "note"].startswith("insufficient: 8 subjects, needs 50"), metric
    assert (
        "30 held-out subjects for a threshold, needs 100" in found_out.loc[("membership_tpr_at_fpr_1", "all"), "note"]
    )
    assert found_out.loc[("membership_auc", "all"), ["n_real", "n_synthetic"]].tolist() == [60, 8]


def test_a_model_that_has_learnt_nothing_tells_nobody_apart_and_the_canary_shows_that_it_would(untrained, tmp_path):
    store, weights = untrained
    before = files.sha256(weights)
    table = measured(store, weights, tmp_path / "out", canaries=8, repeats=REPEATS)
    value, (low, high) = number(table, "membership_auc"), (
        number(table, "membership_floor_auc", column=column) for column in ("ci_low", "ci_high")
    )  # fmt: skip
    assert low <= value <= high
    assert number(table, "membership_p_value") > 0.05 and number(table, "canary_auc") >= 0.9
    note = table.loc[("membership_p_value", "all"), "note"]
    assert (
        note.startswith("no membership signal found by permutation tests of 4 scores, ")
        and "power shown by the canary" in note
    )
    assert files.sha256(weights) == before  # the copy alone has learnt
    assert (tmp_path / "out/membership.png").stat().st_size > 10_000
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert scores["split"].value_counts().to_dict() == {"train": 60, "val": 70, "test": 60}
    again = measured(store, weights, tmp_path / "again", canaries=8, repeats=REPEATS)
    assert again.equals(table)


def test_without_a_canary_that_is_found_nothing_was_shown(untrained, tmp_path):
    unlearnt = measured(*untrained, tmp_path / "a", canaries=8, repeats=1)
    assert number(unlearnt, "canary_auc") < 0.9
    for metric in ("membership_auc", "membership_p_value"):
        assert unlearnt.loc[(metric, "all"), "note"] == "insufficient: the planted canary was not found"
    none = measured(*untrained, tmp_path / "b", canaries=0)
    few = measured(*untrained, tmp_path / "c", canaries=51)
    for table, why in ((none, "no canary was planted"), (few, "70 validation subjects for canaries, needs 71")):
        assert table.loc[("canary_auc", "all"), "value"] == ""
        assert table.loc[("membership_p_value", "all"), "note"].startswith(f"insufficient: {why}")


def test_subjects_with_many_images_do_not_narrow_the_interval(tmp_path):
    tables = []
    for images in (1, 6):
        store = store_of(55, 60, 50, images)
        weights = weights_of(store, tmp_path / f"model{images}", 0)
        tables.append(measured(store, weights, tmp_path / f"out{images}", canaries=0))
    columns = ["value", "ci_low", "ci_high", "n_real", "n_synthetic"]
    one, six = (table.loc[~table.index.isin(["canary_auc"], level=0), columns].apply(pd.to_numeric) for table in tables)
    pd.testing.assert_frame_equal(one, six, atol=1e-9)


def test_a_family_without_a_score_or_a_loss_says_so(untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(DiffusionModel, "canary_loss", lambda self, batch: None)
    table = measured(*untrained, tmp_path / "a")
    assert table.loc[("canary_auc", "all"), "note"] == (
        "insufficient: a diffusion model has nothing that a canary is learnt by"
    )
    monkeypatch.setattr(DiffusionModel, "membership_scores", lambda self, batch, seeds: {})
    table = measured(*untrained, tmp_path / "b")
    assert table["note"].tolist() == ["insufficient: a diffusion model has no membership score"]
    assert pd.read_csv(tmp_path / "b/scores.csv").columns.tolist() == ["split", "subject_id"]


def test_what_cannot_be_audited_is_refused(memorised, tmp_path):
    with pytest.raises(InputError, match="canaries: expected 0, or at least 4, got 3"):
        config.parse(Membership, {"canaries": 3}, "membership")
    store, weights = memorised
    with pytest.raises(InputError, match="trained on a store with digest"):
        measured(store_of(8, 40, 61), weights, tmp_path / "out")
    empty = Store(store.info, store.images, None, store.samples.assign(split="train"))
    with pytest.raises(InputError, match="membership: val has no image, expected subjects in train, val, test"):
        measured(empty, weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()
