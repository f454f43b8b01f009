"""Every open set but modalities: name → where its settings and its code are. A new entry is one line.

Code is imported when it is chosen, so that reading a configuration costs no torch. Unions of the configuration and
fingerprints are made from these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One member of an open set.

    Attributes:
        code: "module:object" of what runs.
        settings: "module:Class" of what the configuration must know of it, which imports no torch; empty for nothing.
    """

    code: str
    settings: str = ""

    @property
    def module(self) -> str:
        return self.code.partition(":")[0]

    def load(self) -> Any:
        """Import what runs."""
        return _load(self.code)

    def load_settings(self) -> type:
        """Import the settings class."""
        return _load(self.settings)


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


# What a dataset can be asked for by: config key `kind`.
CONDITIONS = {
    "categorical": Entry("medsynth.conditions.categorical:CategoricalKind", "medsynth.config.conditions:Categorical"),
    "ordinal": Entry("medsynth.conditions.ordinal:OrdinalKind", "medsynth.config.conditions:Ordinal"),
    "number": Entry("medsynth.conditions.number:NumberKind", "medsynth.config.conditions:Number"),
    "multi_label": Entry("medsynth.conditions.multi_label:MultiLabelKind", "medsynth.config.conditions:MultiLabel"),
    "lesions": Entry("medsynth.conditions.lesions:LesionsKind", "medsynth.config.conditions:Lesions"),
    "mask": Entry("medsynth.conditions.mask:MaskKind", "medsynth.config.conditions:Mask"),
}

# Simulated patients: config key `phantom`.
PHANTOMS = {
    "chest_xray": Entry("medsynth.phantoms.chest_xray:CHEST_XRAY"),
    "abdomen_ct": Entry("medsynth.phantoms.abdomen_ct:ABDOMEN_CT"),
    "brain_mri": Entry("medsynth.phantoms.brain_mri:BRAIN_MRI"),
    "cardiac_mri": Entry("medsynth.phantoms.cardiac_mri:CARDIAC_MRI"),
    "chest_ct": Entry("medsynth.phantoms.chest_ct:CHEST_CT"),
    "ct": Entry("medsynth.phantoms.ct:CT"),
    "ellipsoids": Entry("medsynth.phantoms.ellipsoids:ELLIPSOIDS"),
    "fundus": Entry("medsynth.phantoms.fundus:FUNDUS"),
    "head_ct": Entry("medsynth.phantoms.head_ct:HEAD_CT"),
    "leaves": Entry("medsynth.phantoms.leaves:LEAVES_PHANTOM"),
    "mammography": Entry("medsynth.phantoms.mammography:MAMMOGRAPHY"),
    "mri": Entry("medsynth.phantoms.mri:MRI"),
    "spine_mri": Entry("medsynth.phantoms.spine_mri:SPINE_MRI"),
    "ultrasound": Entry("medsynth.phantoms.ultrasound:ULTRASOUND"),
}

# Image files, by suffix; a file of any other suffix, or none, is DICOM if it has DICOM's preamble.
FORMATS = {
    ".jpg": Entry("medsynth.images.formats.raster:JPEG"),
    ".jpeg": Entry("medsynth.images.formats.raster:JPEG"),
    ".png": Entry("medsynth.images.formats.raster:PNG"),
    ".bmp": Entry("medsynth.images.formats.raster:BMP"),
    ".webp": Entry("medsynth.images.formats.raster:WEBP"),
    ".pgm": Entry("medsynth.images.formats.raster:PNM"),
    ".ppm": Entry("medsynth.images.formats.raster:PNM"),
    ".tif": Entry("medsynth.images.formats.raster:TIFF"),
    ".tiff": Entry("medsynth.images.formats.raster:TIFF"),
    ".dcm": Entry("medsynth.images.formats.dicom:DICOM"),
    ".dicom": Entry("medsynth.images.formats.dicom:DICOM"),
    ".nii": Entry("medsynth.images.formats.nifti:NIFTI"),
    ".nii.gz": Entry("medsynth.images.formats.nifti:NIFTI"),
}

# Volumes that are a folder of files: the kind of all their files.
SERIES = {
    "dicom": Entry("medsynth.images.formats.series:decode"),
}

# Files that released images are written as: config key `formats`. The second class says which images they can hold.
RELEASE_FORMATS = {
    "png": Entry("medsynth.release.formats:PNG", "medsynth.config.formats:Png"),
    "nifti": Entry("medsynth.release.formats:NIFTI", "medsynth.config.formats:Nifti"),
}

# Further forms of a released dataset: config key `handovers`. The second class says which datasets they are for.
HANDOVERS = {
    "bids": Entry("medsynth.release.handovers.bids:BIDS", "medsynth.config.handovers:OfMrVolumes"),
    "croissant": Entry("medsynth.release.handovers.croissant:CROISSANT", "medsynth.config.handovers:OfAny"),
    "decathlon": Entry("medsynth.release.handovers.decathlon:DECATHLON", "medsynth.config.handovers:OfAny"),
    "dicom": Entry("medsynth.release.handovers.dicom_objects:DICOM", "medsynth.config.handovers:OfAny"),
    "parquet": Entry("medsynth.release.handovers.hugging_face:PARQUET", "medsynth.config.handovers:OfAny"),
}

# Model families: config key `family`.
FAMILIES = {
    "diffusion": Entry(
        "medsynth.models.families.diffusion:DiffusionModel", "medsynth.config.families.diffusion:Diffusion"
    ),
    "consistency": Entry(
        "medsynth.models.families.consistency:ConsistencyModel", "medsynth.config.families.consistency:Consistency"
    ),
    "stylegan": Entry("medsynth.models.families.stylegan:StyleganModel", "medsynth.config.families.stylegan:Stylegan"),
    "vae": Entry("medsynth.models.families.vae:VaeModel", "medsynth.config.families.vae:Vae"),
    "vaegan": Entry("medsynth.models.families.vaegan:VaeganModel", "medsynth.config.families.vaegan:Vaegan"),
    "latent_diffusion": Entry(
        "medsynth.models.families.latent_diffusion:LatentDiffusionModel",
        "medsynth.config.families.latent_diffusion:LatentDiffusion",
    ),
}

# Terms that a model's loss can have beside its own: keys of `losses`.
LOSSES = {
    "charbonnier": Entry("medsynth.models.losses.charbonnier:charbonnier"),
    "edge": Entry("medsynth.models.losses.edge:edge"),
    "perceptual": Entry("medsynth.models.losses.perceptual:PerceptualLoss", "medsynth.config.losses:Perceptual"),
    "anatomical": Entry("medsynth.models.losses.anatomical:AnatomicalLoss", "medsynth.config.losses:Anatomical"),
}

# What features are taken by, for distances between distributions: config key `extractor`. The second class says for
# images of how many axes.
EXTRACTORS = {
    "efficientnet_lite0": Entry("medsynth.judges.features:features", "medsynth.config.judges:OfImages"),
    "efficientnet_lite0_planes": Entry("medsynth.judges.features:plane_features", "medsynth.config.judges:OfVolumes"),
    "efficientnet_lite1": Entry("medsynth.judges.features:lite1_features", "medsynth.config.judges:OfImages"),
    "efficientnet_lite1_planes": Entry(
        "medsynth.judges.features:lite1_plane_features", "medsynth.config.judges:OfVolumes"
    ),
}

# What is measured, in this order: config key `metrics`. `adherence` has a line for each statistic of a kind.
METRICS = {
    "kid": Entry("medsynth.evaluate.metrics.distances:KID"),
    "fid": Entry("medsynth.evaluate.metrics.distances:FID"),
    "kid_texture": Entry("medsynth.evaluate.metrics.distances:KID_TEXTURE"),
    "fid_texture": Entry("medsynth.evaluate.metrics.distances:FID_TEXTURE"),
    "density": Entry("medsynth.evaluate.metrics.distances:DENSITY"),
    "coverage": Entry("medsynth.evaluate.metrics.distances:COVERAGE"),
    "pairwise_ms_ssim": Entry("medsynth.evaluate.metrics.pairwise:PAIRWISE_MS_SSIM"),
    "spectrum_distance_db": Entry("medsynth.evaluate.metrics.distances:SPECTRUM_DISTANCE_DB"),
    "finest_octave_db": Entry("medsynth.evaluate.metrics.distances:FINEST_OCTAVE_DB"),
    "shortcut_auc": Entry("medsynth.evaluate.metrics.shortcut:SHORTCUT_AUC"),
    "shortcut_gap": Entry("medsynth.evaluate.metrics.shortcut:SHORTCUT_GAP"),
    "adherence": Entry("medsynth.evaluate.metrics.adherence:ADHERENCE"),
    "subgroup_accuracy": Entry("medsynth.evaluate.metrics.subgroups:SUBGROUP_ACCURACY"),
    "subgroup_kid": Entry("medsynth.evaluate.metrics.subgroups:SUBGROUP_KID"),
    "volume_effect": Entry("medsynth.evaluate.metrics.anatomy:VOLUME_EFFECT"),
    "anatomical_accuracy": Entry("medsynth.evaluate.metrics.anatomy:ANATOMICAL_ACCURACY"),
    "connectedness": Entry("medsynth.evaluate.metrics.anatomy:CONNECTEDNESS"),
    "nearest_similarity": Entry("medsynth.evaluate.metrics.copies:NEAREST_SIMILARITY"),
    "copy_rate": Entry("medsynth.evaluate.metrics.copies:COPY_RATE"),
    "kept_copy_rate": Entry("medsynth.evaluate.metrics.copies:KEPT_COPY_RATE"),
    "test_copy_rate": Entry("medsynth.evaluate.metrics.copies:TEST_COPY_RATE"),
    "copy_recall": Entry("medsynth.evaluate.metrics.copies:COPY_RECALL"),
    "kept_rate": Entry("medsynth.evaluate.metrics.verdicts:KEPT_RATE"),
    "psnr": Entry("medsynth.evaluate.metrics.reconstruction:PSNR"),
    "ssim": Entry("medsynth.evaluate.metrics.reconstruction:SSIM"),
    "ms_ssim": Entry("medsynth.evaluate.metrics.reconstruction:MS_SSIM"),
}
