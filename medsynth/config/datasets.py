"""A dataset: where its images come from, what is known of them, and what shall be sampled."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from medsynth import registry
from medsynth.config.conditions import Categorical, ConditionField, Number, Ordinal, columns_of, refuse_misfits
from medsynth.config.education import Education, refuse_bad_strips
from medsynth.config.formats import DEFAULTS
from medsynth.config.handovers import DEFAULT as HANDOVERS
from medsynth.config.plans import PerClass, Plan, PlanTable
from medsynth.config.section import Fraction, Name, Strict, one_of, refuse_unknown
from medsynth.config.split import Split
from medsynth.images.modalities import MODALITIES, WINDOWS_HU, Modality


class PhantomSource(Strict):
    """Simulated images whose true conditions are known.

    Attributes:
        licence: unless the dataset states one: no patient is in them, and nobody else holds rights in them.
    """

    licence: ClassVar[str | None] = "CC0-1.0"

    kind: Literal["phantom"]
    phantom: Annotated[Name, one_of(registry.PHANTOMS)]
    """The simulated patient; its axes must be those of the modality."""
    count: Annotated[int, Field(ge=1, le=10_000_000)]
    """Number of images."""

    @field_validator("phantom")
    @classmethod
    def _exists(cls, phantom: str) -> str:
        refuse_unknown("phantom", [phantom], registry.PHANTOMS)
        return phantom

    def entries(self) -> tuple[registry.Entry, ...]:
        """Registry entries that it depends on."""
        return (registry.PHANTOMS[self.phantom],)


class Bins(Strict):
    """The column of a categorical or ordinal condition, made from a number."""

    column: str
    """The table's own name of the column with the number."""
    edges: Annotated[tuple[float, ...], Field(min_length=1)]
    """Where the next label begins, in rising order."""
    labels: tuple[str, ...]
    """One more than edges; the first is for numbers below the first edge."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError(f"edges {list(self.edges)} do not rise")
        if len(self.labels) != len(self.edges) + 1:
            raise ValueError(f"{len(self.labels)} labels for {len(self.edges)} edges, expected one more than edges")
        return self


REQUIRED_COLUMNS = ("image", "subject_id")
OPTIONAL_COLUMNS = ("mask", "split")


class TableSource(Strict):
    """A table with one image a row: columns `image`, `subject_id`, optionally `split` and `mask`, and the conditions.

    An empty cell is a missing value; `n/a` says that there can be none.

    Attributes:
        licence: none is assumed: the dataset must state it.
    """

    licence: ClassVar[str | None] = None

    kind: Literal["table"]
    table: str
    """CSV or TSV; image paths in it count from its own folder."""
    columns: dict[str, str | None] = {}
    """Name → the table's own name of it: of `image`, `subject_id`, `mask`, `split` and the conditions' columns.
    `{image: filename, subject_id: filename}` takes one subject for each image; null for `mask` or `split` leaves that
    column of the table out."""
    missing: tuple[str, ...] = ()
    """Cells of conditions that count as empty, as `NA`."""
    bins: dict[Name, Bins] = {}
    """Categorical or ordinal conditions whose labels are made from ranges of a number, by name."""
    allow_outside_root: bool = False
    """Read images outside that folder."""
    max_bad_fraction: Fraction = 0.05
    """Stop when a larger share of the rows cannot be used; fewer are quarantined with their reason."""
    intensity: Literal["stated", "windowed"] = "stated"
    """windowed: images of a modality with a physical unit were windowed to grey before, as an 8-bit JPEG of a CT slice
    is. Each file's black and white become those of the store, and neither store nor release claims Hounsfield units.
    Without it, such a file is quarantined.
    """
    bits_stored: Annotated[int, Field(ge=8, le=16)] | None = None
    """Bits that 16-bit PNG and TIFF files use, where the modality's grey is relative; a file with a larger value is
    quarantined. Null takes the fewest that hold the largest value of all files, and says so.
    """
    colour: Literal["refuse", "luma"] = "refuse"
    """luma: take the brightness of colour images of a modality without colour. Refused are strong colours alone: where
    all but 0.1 % of the pixels differ between channels by at most 15 % of the range, the brightness is always taken,
    and counted in the log and in `store.json`.
    """
    frame: Annotated[int, Field(ge=0)] | None = None
    """The volume of 4D NIfTI files that is taken, from 0. Null quarantines a file of several. A mask must be of one."""
    burned_in_annotation: Literal["refuse", "accept"] = "refuse"
    """accept: take DICOM files that state BurnedInAnnotation YES. Their pixels may show a name."""

    @field_validator("columns")
    @classmethod
    def _only_optional_ones_are_left_out(cls, columns: dict[str, str | None]) -> dict[str, str | None]:
        for name, column in columns.items():
            if column is None and name not in OPTIONAL_COLUMNS:
                raise ValueError(f"{name}: only {' and '.join(OPTIONAL_COLUMNS)} can be left out by null")
        return columns

    duplicates: Literal["join", "quarantine", "report"] = "join"
    """What becomes of images of different subjects that show the same, all listed in `duplicates.csv`. `join`: their
    subjects count as one, so that both are on one side of the split; `quarantine`: the later one is not used; `report`:
    nothing.
    """
    duplicate_likeness: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Likeness above which two images show the same; none takes it from how like strangers in the collection are."""

    def entries(self) -> tuple[registry.Entry, ...]:
        """Registry entries that it depends on: its files may be of any format."""
        return (*registry.FORMATS.values(), *registry.SERIES.values())

    def misfit(self, modality: Modality) -> str | None:
        """Which key means nothing for images of a modality, None where all do."""
        if self.intensity == "windowed" and modality.intensity != "window":
            return f"intensity: windowed is for a modality with a physical unit, this one has {modality.unit}"
        if self.colour == "luma" and modality.channels != 1:
            return f"colour: luma is for a modality without colour, this one has {modality.channels} channels"
        if self.frame is not None and modality.spatial_dims != 3:
            return f"frame: for volumes, this modality has {modality.spatial_dims} axes"
        return None


Fit = Literal["crop", "pad", "content", "optic_disc"]


class Dataset(Strict):
    """An image collection: its images, what is known of them, and what to sample."""

    source: Annotated[PhantomSource | TableSource, Field(discriminator="kind")]
    """Where the images come from: a table, or a phantom."""
    modality: Annotated[str, one_of(MODALITIES)]
    """The kind of image; it decides intensities, channels and permitted flips."""
    size: Annotated[tuple[Annotated[int, Field(ge=8)], ...], Field(min_length=2, max_length=3)]
    """[height, width] in pixels, or [depth, height, width] in voxels."""
    fit: Fit = "pad"
    """How another aspect ratio is met: pad the shorter side or crop the longer. content crops to what is imaged, the
    largest part that is not dark, and pads: black surrounds and marks burnt in beside a scanner's fan are left out.
    optic_disc keeps a third of the field about the optic disc, of upright fundus photographs of about 45 degrees.
    """
    window: Annotated[str, one_of(WINDOWS_HU)] | tuple[float, float] | None = None
    """Black and white of a modality in Hounsfield units: lung, soft_tissue, bone, brain or [low, high]; null is the
    modality's own, -1000 to 1000."""
    laterality: Literal["as_imaged", "left"] = "as_imaged"
    """left: mirror images whose right half is the brighter, so that every breast of mammograms lies on the left. Not
    where the side is a condition, or means something.
    """
    conditions: Annotated[dict[Name, ConditionField], Field(min_length=1)]
    """What images can be asked for by."""
    label: str
    """The categorical condition that classes, plans and verdicts go by."""
    strata: tuple[Name, ...] | None = None
    """Categorical or ordinal conditions, the label among them, by which the split is stratified and metrics are
    grouped; null is the label alone. Combinations with fewer than 3 subjects are one stratum of their class.
    """
    split: Split = Split()
    """Shares of training, validation and test subjects."""
    plan: Plan
    """What to sample."""
    education: Education | None = None
    """Teaching material that `snakemake education` makes of it; null makes none."""
    models: tuple[Name, ...] | None = None
    """Names of the models to train on it; null trains all."""
    release_masks: bool = False
    """Release the masks that images were asked for by. They are training subjects' own unless these are simulated."""
    licence: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = None
    """Licence of the images, which the release is handed over under: an SPDX identifier (`CC-BY-4.0`), a URL, or a
    sentence. Null is CC0-1.0 for a phantom; of a table, nothing is released without one.
    """
    citation: str | None = None
    """Where the images come from and what to cite, printed on the card."""
    formats: Annotated[tuple[Annotated[str, one_of(registry.RELEASE_FORMATS)], ...], Field(min_length=1)] | None = None
    """What each released image is written as; `file_name` in `metadata.csv` is the first. Null is png for images,
    nifti for volumes.
    """

    handovers: tuple[Annotated[str, one_of(registry.HANDOVERS)], ...] = HANDOVERS
    """Further forms of the released dataset, beside its images and `metadata.csv`. croissant describes it for programs,
    decathlon lists images, masks and conditions for MONAI; the others hold the images once more.
    """

    contrast: Literal["T1w", "T2w", "PDw", "FLAIR", "T2starw"] | None = None
    """Contrast of MR volumes that all have the same, by which the hand-over bids names them. Null takes that of a
    categorical condition whose values are contrasts, as t1 and flair.
    """

    @property
    def release_formats(self) -> tuple[str, ...]:
        """The files that each released image is written as, by name."""
        return self.formats or DEFAULTS[len(self.size)]

    @property
    def stated_licence(self) -> str | None:
        """Of the dataset, else of its source; None: nothing may be released."""
        return self.licence or self.source.licence

    @property
    def window_limits(self) -> tuple[float, float] | None:
        """Black and white in place of the modality's own, in its unit."""
        return WINDOWS_HU[self.window] if isinstance(self.window, str) else self.window

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, *spatial) of each image that a store or a shard holds."""
        return (MODALITIES[self.modality].channels, *self.size)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        refuse_unknown("modality", [self.modality], MODALITIES)
        dims = MODALITIES[self.modality].spatial_dims
        if len(self.size) != dims:
            raise ValueError(f"size has {len(self.size)} axes, modality {self.modality} has {dims}")
        if isinstance(self.source, TableSource) and (reason := self.source.misfit(MODALITIES[self.modality])):
            raise ValueError(f"source.{reason}")
        refuse_misfits(self.conditions, dims)
        if isinstance(self.source, TableSource):
            self._refuse_misfitting_columns(self.source)
        if not isinstance(self.conditions.get(self.label), Categorical):
            raise ValueError(f"label {self.label!r} is not a categorical condition")
        for name in self.strata or ():
            if not isinstance(self.conditions.get(name), Categorical | Ordinal):
                raise ValueError(f"strata: {name!r} is not a categorical or ordinal condition")
        if self.strata is not None and (self.label not in self.strata or len(set(self.strata)) < len(self.strata)):
            raise ValueError(
                f"strata {list(self.strata)}: expected distinct fields, the label {self.label!r} among them"
            )
        self._refuse_misfitting_window()
        if self.fit == "optic_disc":
            self._refuse_images_without_a_disc()
        self._refuse_misfitting_formats()
        if self.education is not None:
            self._refuse_misfitting_education(self.education)
        request = self.plan.request
        if not isinstance(request, PlanTable):
            column = self.conditions.get(request.column)
            if not isinstance(column, Categorical | Ordinal):
                raise ValueError(f"plan.request.column {request.column!r} is not a categorical or ordinal condition")
            for value in request.counts if isinstance(request, PerClass) else ():
                if value not in column.values:
                    raise ValueError(f"plan.request.counts: {value!r} is not one of {list(column.values)}")
        return self

    def _refuse_misfitting_education(self, education: Education) -> None:
        try:
            refuse_bad_strips(education.along, columns_of(self.conditions, len(self.size)))
        except ValueError as error:
            raise ValueError(f"education.{error}") from None
        if education.graded and not isinstance(self.conditions.get(education.graded), Number | Ordinal):
            raise ValueError(f"education.graded: {education.graded!r} is not a number or an ordinal condition")

    def _refuse_misfitting_columns(self, source: TableSource) -> None:
        columns = columns_of(self.conditions, len(self.size))
        refuse_unknown("column in source.columns", source.columns, (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, *columns))
        for name, bins in source.bins.items():
            field = self.conditions.get(name)
            if not isinstance(field, Categorical | Ordinal):
                raise ValueError(f"source.bins: {name!r} is not a categorical or ordinal condition")
            if name in source.columns:
                raise ValueError(f"source.bins and source.columns both name {name!r}")
            refuse_unknown(f"label in source.bins.{name}", bins.labels, field.values)

    def _refuse_misfitting_window(self) -> None:
        if self.window is None:
            return
        modality = MODALITIES[self.modality]
        if modality.intensity != "window":
            raise ValueError(f"window: for a modality with a fixed window, {self.modality} has {modality.unit}")
        if isinstance(self.source, TableSource) and self.source.intensity == "windowed":
            raise ValueError("window: the source's images were windowed before, source.intensity says")
        if isinstance(self.window, str):
            refuse_unknown("window", [self.window], WINDOWS_HU)
        elif not self.window[0] < self.window[1]:
            raise ValueError(f"window {list(self.window)} does not rise, expected [low, high] in {modality.unit}")

    def _refuse_images_without_a_disc(self) -> None:
        if not MODALITIES[self.modality].optic_disc:
            known = ", ".join(name for name, modality in MODALITIES.items() if modality.optic_disc)
            raise ValueError(f"fit: optic_disc is for images that show one, of {known}, got {self.modality}")
        if isinstance(self.source, PhantomSource):
            raise ValueError("fit: optic_disc is for images of a table, a phantom is drawn at its size")

    def _refuse_misfitting_formats(self) -> None:
        if len(set(self.release_formats)) < len(self.release_formats):
            raise ValueError(f"formats: {list(self.release_formats)} names one twice")
        if self.contrast is not None and "MR" not in MODALITIES[self.modality].dicom_codes:
            raise ValueError(f"contrast: of MR volumes, this dataset has {self.modality}")
        if len(set(self.handovers)) < len(self.handovers):
            raise ValueError(f"handovers: {list(self.handovers)} names one twice")
        for name in self.handovers:
            refuse_unknown("form in handovers", [name[:120]], registry.HANDOVERS)
            form: Any = registry.HANDOVERS[name].load_settings()
            if reason := form.misfit(self):
                raise ValueError(f"handovers: {name} {reason}")
        for name in self.release_formats:
            refuse_unknown("format in formats", [name[:120]], registry.RELEASE_FORMATS)
            limits: Any = registry.RELEASE_FORMATS[name].load_settings()
            if reason := limits.misfit(self.image_shape):
                raise ValueError(f"formats: {name} {reason}")
