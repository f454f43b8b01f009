"""The key `window` of a dataset."""

import pytest

from medsynth import config
from medsynth.errors import InputError
from tests.config.test_config import CONFIG, DATASET, TABLE


def ct(**changes) -> dict:
    return CONFIG | {"datasets": {"d": DATASET | {"modality": "ct", "source": TABLE} | changes}}


def test_a_window_is_named_or_given():
    assert config.parse(config.Config, ct(window="lung"), "").prepare("d").window_limits == (-1350, 150)
    assert config.parse(config.Config, ct(window=[0, 90]), "").prepare("d").window_limits == (0, 90)
    assert config.parse(config.Config, ct(), "").prepare("d").window_limits is None


def test_volumes_take_the_same_windows():
    volumes = ct(modality="ct_volume", size=[32, 32, 32], window="soft_tissue")
    assert config.parse(config.Config, volumes, "").prepare("d").window_limits == (-160, 240)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": [90, 0]}, r"window \[90.0, 0.0\] does not rise, expected \[low, high\] in HU"),
        ({"window": "lungs"}, "unknown window"),
        (
            {"window": "lung", "modality": "mri_volume", "size": [32, 32, 32]},
            "window: for a modality with a fixed window, mri_volume has arbitrary",
        ),
        ({"window": "lung", "modality": "mri"}, "window: for a modality with a fixed window, mri has arbitrary"),
        (
            {"window": "lung", "source": TABLE | {"intensity": "windowed"}},
            "window: the source's images were windowed before",
        ),
    ],
)
def test_a_window_that_means_nothing_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        config.parse(config.Config, ct(**changes), "")
