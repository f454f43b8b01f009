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
    shaped = [name for name, modality in MODALITIES.items() if _has_shape(modality, survey.looks)]
    if not shaped:
        raise InputError(
            f"no modality is known for images of {survey.dims} axes{' in colour' if survey.colour else ''}; "
            f"{_offer(survey)}"
        )
    if codes := Counter(look.dicom_code for look in survey.looks if look.dicom_code):
        code = codes.most_common(1)[0][0]
        coded = [name for name in shaped if code in MODALITIES[name].dicom_codes]
        if not coded:
            raise InputError(f"no modality is known for the DICOM images of {survey.column!r}; {_offer(survey)}")
        named, _ = _by_name(coded, places)
        return max(coded, key=lambda name: len(named.get(name, ()))), f"the DICOM modality {code}"
    named, place = _by_name(shaped, places)
    low, high = min(look.low for look in survey.looks), max(look.high for look in survey.looks)
    if named:
        # Of modalities named alike, the one whose channels the images have: the colour of others is left out.
        best = max(named, key=lambda name: (len(named[name]), _has_channels(name, survey)))
        said = f"{' and '.join(map(repr, named[best]))} in the {place}"
        if survey.dims == 3 and MODALITIES[best].intensity == "window" and low >= AIR_HU:
            raise InputError(
                f"{said} names {best}, but intensities from {low:g} to {high:g} are not in {MODALITIES[best].unit}: "
                f"no air; {_offer(survey)}"
            )
        return best, said
    fitting = [name for name in shaped if _has_channels(name, survey) and _fits(MODALITIES[name], survey.dims, low)]
    if len(fitting) == 1:
        colour = "colour" if survey.colour else "grey"
        range_of = f", and intensities from {low:g} to {high:g}" if survey.dims == 3 else ""
        return fitting[0], f"{survey.dims} axes, {colour}{range_of} alone"
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


def _has_shape(modality: Modality, looks: Sequence[Look]) -> bool:
    """Whether images of such axes and channels can be of a modality; colour can be left out."""
    return modality.spatial_dims == looks[0].dims and modality.channels in (1, max(look.channels for look in looks))


def _fits(modality: Modality, dims: int, low: float) -> bool:
    """Whether intensities from `low` on can be of a modality: volumes have no other sign of Hounsfield units."""
    return dims == 2 or (modality.intensity == "window") == (low < AIR_HU)


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


def _offer(survey: Survey) -> str:
    names = [name for name, modality in MODALITIES.items() if modality.spatial_dims == survey.dims]
    return f"say it with --modality, one of {', '.join(names)}"
