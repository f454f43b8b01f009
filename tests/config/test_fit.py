"""The key `fit` of a dataset."""

import pytest

from medsynth import config
from medsynth.errors import InputError
from tests.config.test_config import CONFIG, DATASET, TABLE


def whole(**changes) -> dict:
    return CONFIG | {"datasets": {"d": DATASET | {"fit": "optic_disc"} | changes}}


def test_the_optic_disc_is_a_choice_for_photographs_of_it():
    assert config.parse(config.Config, whole(modality="fundus", source=TABLE), "").prepare("d").fit == "optic_disc"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"modality": "chest_xray", "source": TABLE},
            "fit: optic_disc is for images that show one, of fundus, got chest",
        ),
        ({"modality": "fundus", "source": {"kind": "phantom", "phantom": "fundus", "count": 90}}, "a phantom is drawn"),
    ],
)
def test_images_without_a_disc_to_find_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        config.parse(config.Config, whole(**changes), "")
