import pytest

from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES
from medsynth.init.images import Look, Survey
from medsynth.init.modality import check, guess


def survey(dims=2, colour=False, low=0.0, code=""):
    look = Look((64,) * dims, (64.0,) * dims, 3 if colour else 1, colour, low, 255.0, True, code)
    return Survey("image", [look], 0, False, ())


@pytest.mark.parametrize(
    ("looks", "places", "modality", "why"),
    [
        (survey(code="MR"), {"folder": ["chest_ct"]}, "mri", "the DICOM modality MR"),
        (survey(), {"folder": ["covid_x-ray"]}, "chest_xray", "'xray' in the folder"),
        (survey(), {"folder": ["data"], "table": ["BUSI"]}, "ultrasound", "'busi' in the table"),
        (survey(), {"folder": ["head CT"], "table": ["mri"]}, "ct", "'ct' in the folder"),
        (survey(), {"folder": ["MammoSet", "mammography"]}, "mammography", "'mammo' and 'mammography' in the folder"),
        (survey(colour=True), {"folder": ["retina"]}, "fundus", "'retina' in the folder"),
        (survey(colour=True), {"folder": ["echo ultrasound"]}, "ultrasound", "'ultrasound' in the folder"),
        (survey(dims=3, low=-1024.0), {"folder": ["chest_ct"]}, "ct_volume", "'ct' in the folder"),
        (survey(dims=3), {"folder": ["hippocampus_mri"]}, "mri_volume", "'mri' in the folder"),
        (survey(dims=3, code="CT"), {"folder": ["mri"]}, "ct_volume", "the DICOM modality CT"),
        (survey(dims=3, low=-4096.0, code="MR"), {}, "mri_volume", "the DICOM modality MR"),
        (survey(dims=3, low=-1024.0), {}, "ct_volume", "3 axes, grey, and intensities from -1024 to 255 alone"),
        (survey(dims=3), {}, "mri_volume", "3 axes, grey, and intensities from 0 to 255 alone"),
    ],
)
def test_headers_then_the_most_telling_names_decide(looks, places, modality, why):
    assert guess(looks, places) == (modality, why)


@pytest.mark.parametrize(
    ("looks", "message"),
    [
        (survey(), "neither headers nor names say which modality"),
        (survey(code="ZZ"), "no modality is known for the DICOM images"),
    ],
)
def test_what_cannot_be_told_is_asked_for(looks, message):
    with pytest.raises(InputError, match=message) as caught:
        guess(looks, {"folder": ["pictures"]})
    assert "--modality, one of chest_xray" in str(caught.value)


def test_volumes_called_ct_without_air_are_asked_about():
    with pytest.raises(
        InputError, match=r"'ct' in the folder names ct_volume, but intensities from 0 to 255"
    ) as caught:
        guess(survey(dims=3), {"folder": ["chest ct"]})
    assert "--modality, one of ct_volume, mri_volume" in str(caught.value)


@pytest.mark.parametrize("name", MODALITIES)
def test_every_modality_is_found_by_its_own_name(name):
    of = MODALITIES[name]
    looks = survey(of.spatial_dims, of.channels == 3, -1000.0)
    assert guess(looks, {"folder": [name]})[0] == name


def test_a_chosen_modality_exists_and_has_the_images_axes():
    assert check("mri", survey()) == "mri"
    with pytest.raises(InputError, match="unknown modality 'fundos', did you mean 'fundus'"):
        check("fundos", survey())
    with pytest.raises(InputError, match="modality ct_volume has 3 axes, the images have 2"):
        check("ct_volume", survey())
