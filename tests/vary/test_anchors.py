import logging

import numpy as np
import pandas as pd
import pytest
import torch

from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Lesions, Number
from medsynth.config.families.diffusion import Diffusion, DiffusionSampler
from medsynth.config.families.stylegan import Stylegan
from medsynth.models.contract import ImageSpec, build
from medsynth.vary import anchors
from tests.models.families.test_diffusion import wake

SCHEMA = ConditionSchema(
    {
        "pathology": Categorical(kind="categorical", values=("normal", "nodule")),
        "severity": Number(kind="number", range=(0, 1)),
        "age_years": Number(kind="number", range=(0, 100)),
        "lesion": Lesions(kind="lesions", severity="severity"),
    },
    2,
)
SAMPLER = DiffusionSampler(steps=(2,), autoguidance=1)
ROUNDING = 4  # of 65535, by the size of the batch


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = Diffusion(family="diffusion", stages=[{"channels": [8]}, {"channels": [8]}])
    model = build(settings, ImageSpec(1, (32, 32), SCHEMA), {}).eval()
    wake(model, 0.3)
    for block in model.modules():
        if hasattr(block, "film"):
            torch.nn.init.normal_(block.film.weight, std=0.3)
            torch.nn.init.normal_(block.conv2.weight, std=0.1)
    return model


def strip(column: str, asked: list[str], subject: int = 7, **cells: str) -> pd.DataFrame:
    base = {"pathology": "nodule", "severity": "0.5", "age_years": "40"}
    base |= {"lesion_x": "0.3", "lesion_y": "0.6", "lesion_size": "0.2"} | cells
    rows = [base | {column: value, "asked": value, "frame": frame} for frame, value in enumerate(asked)]
    return pd.DataFrame(rows).assign(subject=subject, along=column, seed=subject, sample_id="x")


def apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one.astype(int) - other)


def draw(model, *strips: pd.DataFrame, held_outside: bool = True):
    return anchors.draw(model, SCHEMA, pd.concat(strips, ignore_index=True), SAMPLER, None, held_outside)


def test_severity_changes_nothing_outside_of_the_lesions_surroundings(model):
    images, held_from = draw(model, strip("severity", ["0.8", "0.1", "1"]))
    whole, _ = draw(model, strip("severity", ["0.8", "0.1", "1"]), held_outside=False)
    assert held_from.tolist() == [1, -1, 1]  # the least severe is drawn whole
    assert apart(images[1], whole[1]).max() <= ROUNDING
    y, x = np.mgrid[:32, :32] + 0.5
    outside = np.hypot(x - 0.3 * 32, y - 0.6 * 32) > 0.2 * 32 + 1  # surroundings are as wide as two diameters
    lesion = np.hypot(x - 0.3 * 32, y - 0.6 * 32) < 0.1 * 32
    for frame in (0, 2):
        assert np.array_equal(images[frame, 0][outside], images[1, 0][outside])
        assert apart(whole[frame, 0], whole[1, 0])[outside].max() > 100 * ROUNDING
        assert apart(images[frame, 0], images[1, 0])[lesion].max() > 100 * ROUNDING


def test_a_lesion_that_moves_is_drawn_anew_at_all_its_places(model):
    images, held_from = draw(model, strip("lesion_x", ["0.25", "0.75"]))
    assert held_from.tolist() == [-1, 0]
    change = apart(images[1, 0], images[0, 0]).max(0)  # by x
    assert change[4:12].max() > 0 and change[20:28].max() > 0 and not change[31:].any()


def test_what_places_no_lesion_is_drawn_whole(model, caplog):
    age, pathology = strip("age_years", ["10", "80"]), strip("pathology", ["normal", "nodule"], subject=8)
    none = strip("severity", ["0", "1"], subject=9, lesion_x="n/a", lesion_y="n/a", lesion_size="n/a")
    with caplog.at_level(logging.WARNING):
        images, held_from = draw(model, age, pathology, none)
    assert held_from.tolist() == [-1] * 6
    assert np.array_equal(images, draw(model, age, pathology, none, held_outside=False)[0])
    assert caplog.messages == ["subject 9, severity: no frame has a lesion, all are drawn whole"]


def test_strips_are_drawn_as_they_are_alone(model):
    strips = [strip("severity", ["0", "1"], subject) for subject in (1, 2)]
    together, held_from = draw(model, *strips)
    assert held_from.tolist() == [-1, 0, -1, 0]
    for place, one in enumerate(strips):
        alone, _ = draw(model, one)
        assert apart(alone, together[2 * place : 2 * place + 2]).max() <= ROUNDING


def test_an_absent_number_is_the_least_and_a_list_begins_with_its_first():
    assert anchors.anchor_of(SCHEMA, strip("severity", ["0.4", "n/a", "0.2"])) == 1
    assert anchors.anchor_of(SCHEMA, strip("severity", ["0.4", "0.3", "0.35"]).set_index(pd.Index([5, 6, 7]))) == 6
    assert anchors.anchor_of(SCHEMA, strip("pathology", ["normal", "nodule"])) == 0


def test_a_family_that_cannot_hold_draws_whole_frames_and_says_so(caplog):
    settings = Stylegan(family="stylegan", channels=[8, 8], latent_dim=8)
    model = build(settings, ImageSpec(1, (16, 16), SCHEMA), {}).eval()
    rows = strip("severity", ["0", "1"])
    with caplog.at_level(logging.WARNING):
        _, held_from = anchors.draw(model, SCHEMA, rows, settings.sampler, None, True)
    assert held_from.tolist() == [-1, -1]
    assert caplog.messages == ["a stylegan model cannot hold an image outside of lesions: frames are drawn whole"]
