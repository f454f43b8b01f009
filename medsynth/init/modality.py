"""Which modality a collection most likely is, and what says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from medsynth.config.section import refuse_unknown
from medsynth.errors import InputError
from medsynth.images.modalities import MODALITIES, Modality
from medsynth.init.columns import words
from medsynth.init.images import Look, Survey

# What people call them, by the DICOM code of the modality. The words of a modality's own name count as well.
CALLED = {
    "CR": {"xray", "xr", "cxr", "radiograph", "radiographs", "radiography", "dx", "cr"},
    "CT": {"ct", "hu", "tomography"},
    "MR": {"mr", "mri", "flair", "dwi"},
    "MG": {"mammo", "mammogram", "mammograms", "mammography", "mg", "mias", "ddsm"},
    "US": {"us", "ultrasound", "sonography", "sonogram", "busi"},
    "OP": {"fundus", "retina", "retinal", "retinopathy", "cfp", "cup", "glaucoma"},
}
SAYS_NOTHING = {"volume"}
AIR_HU = -200  # a CT image or volume has air in it


def guess(survey: Survey, places: Mapping[str, Collection[str]]) -> tuple[str, str]:
    """The modality, and what it was guessed from.

    Args:
        places: where names come from, the most telling first → those names, as `folder` → `chest_xray`.
    Raises:
        InputError: nothing says which it is, or none that fits is known.
    """
    fitting = [name for name, modality in MODALITIES.items() if _fits(modality, survey.looks)]
    if not fitting:
        raise InputError(_unknown(survey))
    codes = Counter(look.dicom_code for look in survey.looks if look.dicom_code)
    named, place = _by_name(fitting, places)
    if codes:
        code = codes.most_common(1)[0][0]
        coded = [name for name in fitting if code in MODALITIES[name].dicom_codes]
        if not coded:
            raise InputError(f"no modality is known for the DICOM images of {survey.column!r}; {_offer(survey)}")
        best = max(coded, key=lambda name: len(named.get(name, ())))
        return best, f"the DICOM modality {code}"
    if named:
        # Of modalities named alike, the one whose channels the images have: the colour of others is left out.
        best = max(named, key=lambda name: (len(named[name]), _has_channels(name, survey)))
        return best, f"{' and '.join(map(repr, named[best]))} in the {place}"
    fitting = [name for name in fitting if _has_channels(name, survey)]
    if len(fitting) == 1:
        colour = "colour" if survey.colour else "grey"
        return fitting[0], f"{survey.dims} axes and {colour} alone, it is the only such modality"
    raise InputError(f"neither headers nor names say which modality the images are; {_offer(survey)}")


def check(name: str, survey: Survey) -> str:
    """A modality that was chosen.

    Raises:
        InputError: it is unknown, or of other axes than the images.
    """
    try:
        refuse_unknown("modality", [name], MODALITIES)
    except ValueError as error:
        raise InputError(str(error)) from None
    if MODALITIES[name].spatial_dims != survey.dims:
        raise InputError(f"modality {name} has {MODALITIES[name].spatial_dims} axes, the images have {survey.dims}")
    return name


def _fits(modality: Modality, looks: Sequence[Look]) -> bool:
    """Whether images of such axes, channels and intensities can be of a modality; colour can be left out."""
    look = looks[0]
    if modality.spatial_dims != look.dims or modality.channels not in (1, max(look.channels for look in looks)):
        return False
    # Volumes have no other sign of their unit than the intensities themselves.
    return modality.intensity != "window" or look.dims == 2 or min(look.low for look in looks) < AIR_HU


def _has_channels(name: str, survey: Survey) -> bool:
    return (MODALITIES[name].channels > 1) == survey.colour


def _by_name(fitting: Sequence[str], places: Mapping[str, Collection[str]]) -> tuple[dict[str, list[str]], str]:
    """Modality → the words that speak for it in the most telling place that has such, and that place."""
    for place, names in places.items():
        said = {word for text in names for word in _joined(text)}
        found = {modality: sorted(said & _called(modality)) for modality in fitting}
        if any(found.values()):
            return {modality: words for modality, words in found.items() if words}, place
    return {}, ""


def _called(modality: str) -> set[str]:
    own = set(words(modality)) - SAYS_NOTHING
    return own.union(*(CALLED.get(code, set()) for code in MODALITIES[modality].dicom_codes))


def _joined(text: str) -> list[str]:
    """The words of a name, and each two neighbours as one: `x-ray` is also `xray`."""
    single = [word for word in words(text) if not word.isdigit()]
    return single + [first + second for first, second in pairwise(single)]


def _unknown(survey: Survey) -> str:
    look = survey.looks[0]
    if look.dims == 3:
        low, high = min(look.low for look in survey.looks), max(look.high for look in survey.looks)
        known = ", ".join(name for name, modality in MODALITIES.items() if modality.spatial_dims == 3)
        return (
            f"volumes with intensities from {low:g} to {high:g}: of volumes only {known} is supported yet; "
            f"where that is right, say --modality {known.split(', ')[0]}"
        )
    return (
        f"no modality is known for images of {look.dims} axes{' in colour' if survey.colour else ''}; {_offer(survey)}"
    )


def _offer(survey: Survey) -> str:
    names = [name for name, modality in MODALITIES.items() if modality.spatial_dims == survey.dims]
    return f"say it with --modality, one of {', '.join(names)}"
