"""Which models begin with the weights of the package."""

import pytest

from medsynth import config
from medsynth.config.base_model import FOLDER, bases
from medsynth.config.families.diffusion import Diffusion
from medsynth.disk import files

GREY = (1, 64, 64)
FINEST = {"channels": [48, 48], "share": 0.25}  # of the defaults


def model(**changes) -> Diffusion:
    return Diffusion.model_validate({"family": "diffusion"} | changes)


def test_the_package_has_one_whose_record_is_true():
    [base] = bases()
    assert base.weights.parent == FOLDER and files.sha256(base.weights) == base.sha256
    assert base.shape == GREY


@pytest.mark.parametrize(
    ("changes", "shape", "fits"),
    [
        ({}, GREY, True),
        ({}, (1, 32, 32), True),  # stages of 16 and 32 pixels
        ({}, (1, 16, 16), False),  # one stage
        ({}, (3, 64, 64), False),
        ({"codec": {"colour": "opponents"}}, (3, 64, 64), True),  # their brightness
        ({}, (1, 64, 64, 64), False),
        ({"stages": [{"channels": [8]}, FINEST]}, GREY, True),  # one stage in common is enough
        ({"stages": [{"channels": [8]}, {"channels": [8]}]}, GREY, False),
        ({"parents": {"initial": "none"}}, GREY, False),
        ({"parents": {"initial": "other"}}, GREY, False),
        ({"parents": {"details": "other"}}, GREY, False),
    ],
)
def test_a_model_begins_with_it_where_a_stage_is_the_same(changes, shape, fits):
    assert (model(**changes).base(shape) is not None) == fits


def test_a_size_of_more_stages_takes_those_that_it_shares():
    assert model().base((1, 128, 128)) is not None


@pytest.mark.parametrize(
    ("size", "coarsest"),
    [((64, 64), 16), ((256, 256), 16), ((16, 16), 16), ((8, 8), 8), ((96, 64), 16), ((96, 96), 24), ((72, 72), 36),
     ((60, 64), 60), ((1024, 1024), 16),
     ((32, 32, 32), 8), ((64, 64, 64), 8), ((32, 96, 96), 8)],
)  # fmt: skip
def test_stages_begin_at_a_small_image_and_double_it(size, coarsest):
    stages = model().stages_of(size)
    assert min(size) == coarsest * 2 ** (len(stages) - 1) and model().misfit(size) is None
    assert [stage.share for stage in stages] == sorted((stage.share for stage in stages), reverse=True)
    explicit = model(stages=[{"channels": [8]}])
    assert explicit.stages_of(size) == explicit.stages


def test_settings_of_a_training_name_it_and_from_scratch_they_do_not():
    dataset = {
        "source": {"kind": "phantom", "phantom": "chest_xray", "count": 10},
        "modality": "chest_xray",
        "size": [64, 64],
        "conditions": {"pathology": {"kind": "categorical", "values": ["a", "b"]}},
        "label": "pathology",
        "plan": {"request": {"kind": "balance", "column": "pathology"}},
    }
    models = {"based": {"family": "diffusion"}, "plain": {"family": "diffusion", "parents": {"initial": "none"}}}
    whole = config.parse(config.Config, {"datasets": {"d": dataset}, "models": models}, "")
    assert whole.train("d", "based").base == bases()[0].sha256 and whole.train("d", "plain").base is None
    assert whole.parents("d", "plain") == {}
    # Code of the configuration is in no fingerprint: what it decides stands in the settings.
    assert [stage.channels for stage in whole.train("d", "plain").model.stages] == [(128, 192), (64, 128), (48, 48)]
