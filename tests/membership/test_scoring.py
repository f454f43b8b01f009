"""Which images are looked at, and with what."""

import numpy as np
import pandas as pd
import torch

from medsynth.membership.scoring import batch_of, rows_of
from tests.contracts.examples import CPU, toy_store


def test_some_subjects_and_some_images_of_each_are_drawn():
    store = toy_store("categorical", 2)
    names = [f"s{row // 4}" for row in range(len(store))]  # of four images each
    store.samples["subject_id"] = names
    drawn = []
    for seed in range(40):
        rows = rows_of(store, "train", subjects=3, images=2, rng=np.random.default_rng(seed))
        counts = pd.Series(names).iloc[rows].value_counts()
        assert len(counts) == 3 and (counts == 2).all() and (store.samples["split"].iloc[rows] == "train").all()
        drawn += rows.tolist()
    assert set(drawn) == set(range(32))  # anyone may be
    everything = rows_of(store, "train", subjects=100, images=100, rng=np.random.default_rng(0))
    assert sorted(everything) == list(range(32))


def test_an_image_comes_with_its_conditions_and_its_mask():
    store = toy_store("mask", 2)
    rows = np.array([35, 2, 7])
    batch = batch_of(store, rows, CPU)
    assert np.array_equal(batch.image.numpy(), store.intensities(rows))
    assert torch.equal(batch.mask, torch.from_numpy(store.masks[rows]))
    condition = store.info.condition_schema.encode(store.samples, store.masks)
    assert torch.equal(batch.condition.states, condition.states[rows])
