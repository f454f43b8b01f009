"""Gates over the metrics of a whole run: thresholds that must hold before anything is released."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from medsynth import registry
from medsynth.config.evaluation import FEWEST_SUBJECTS
from medsynth.config.membership import AUC, CANARY_AUC
from medsynth.config.membership import METRICS as OF_MEMBERSHIP
from medsynth.config.section import Count, Fraction, Positive, Strict, refuse_unknown
from medsynth.config.utility import AUROC_GAIN, RECALL_GAIN
from medsynth.config.utility import MEASURED as OF_UTILITY

# A step that runs where the configuration has its section → the metrics of the table that it leaves. The gate of its
# name exists where the step does.
OF_STEPS: Mapping[str, tuple[str, ...]] = {"utility": OF_UTILITY, "membership": OF_MEMBERSHIP}
BY_STATISTIC = "adherence"  # the metric whose lines are named after the statistics of the condition kinds
NEVER_WAIVED = ("integrity", "lineage", "copies")
NOT_ENFORCED = "not enforced: gates.enforce is false"  # in the place of a reason
Groups = Annotated[tuple[str, ...], Field(min_length=1)]


def metric_names() -> Iterator[str]:
    """Every name that the column `metric` can hold, of metrics.csv and of what further steps measure."""
    yield from (name for name in registry.METRICS if name != BY_STATISTIC)
    for names in OF_STEPS.values():
        yield from names
    for entry in registry.CONDITIONS.values():
        yield from entry.load_settings().statistics  # type: ignore[attr-defined]


class Threshold(Strict):
    """Bounds on the value of some lines of metrics.csv. At least one bound is given; all that are given must hold."""

    metric: str
    """Name in the column `metric` of metrics.csv."""
    groups: Groups = ("all",)
    """Names in the column `group`; `*` stands for any text, `{label}` for the name of the label, `{targeted}` for the
    groups of the classes that samples are made for.
    """
    at_least: float | None = None
    """The least value."""
    at_most: float | None = None
    """The greatest value."""
    least_share_of_floor: Positive | None = None
    """The least value, as a share of what held-out real images reach."""
    most_over_floor: float | None = None
    """The greatest value, as so much more than held-out real images reach."""
    least_floor: float | None = None
    """No bound: a line whose floor is lower is insufficient, since what real images do not show cannot be asked."""
    fewest: Count = FEWEST_SUBJECTS
    """No bound: a line of fewer images, real ones or synthetic ones, is insufficient."""
    allow_for_chance: bool = True
    """No bound: a line beyond a bound is insufficient, and not failed, where its 95 % interval reaches the bound."""
    whole_interval: bool = False
    """No bound: the whole 95 % interval must be within the bounds, not the value alone."""
    of_judge: bool = False
    """No bound: what lies beyond the bounds says that the judge is not adequate, so that the line is insufficient."""
    required: bool = True
    """No bound: whether the gate is insufficient where metrics.csv has no such line. If false, the threshold then does
    not apply.
    """

    @field_validator("metric")
    @classmethod
    def _exists(cls, metric: str) -> str:
        refuse_unknown("metric", [metric], metric_names())
        return metric

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        bounds = ("at_least", "at_most", "least_share_of_floor", "most_over_floor")
        if all(getattr(self, bound) is None for bound in bounds):
            raise ValueError(f"{self.metric} has no bound, expected one of {', '.join(bounds)}")
        return self


class Gate(Strict):
    """What a run must reach, and how much there must be to tell."""

    thresholds: tuple[Threshold, ...]
    """What must hold; the defaults are in docs/release.md."""
    subjects: Count = 50
    """With fewer held-out test subjects, the gate is insufficient."""
    images: Count = 100
    """With fewer samples, the gate is insufficient."""
    waived: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = None
    """Why a run that fails this gate is released all the same; the card prints it."""

    @field_validator("thresholds")
    @classmethod
    def _are_some(cls, thresholds: tuple[Threshold, ...]) -> tuple[Threshold, ...]:
        if not thresholds:
            raise ValueError("no threshold, expected at least one")
        return thresholds

    @field_validator("waived", mode="before")
    @classmethod
    def _says_why(cls, waived: Any) -> Any:
        if waived is not None and not (isinstance(waived, str) and waived.strip()):
            raise ValueError("expected the reason for the waiver, in words")
        return waived


class Reconstruction(Gate):
    """Held-out images are reconstructed better than by the nearest training image; for families that reconstruct."""

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric="psnr", least_share_of_floor=1, required=False),
        Threshold(metric="ssim", least_share_of_floor=1, required=False),
    )
    """What must hold; the defaults are in docs/release.md."""


class Fidelity(Gate):
    """Samples look like held-out real images: distance of features, and power of fine detail from half to twice."""

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric="kid", most_over_floor=0.5),
        Threshold(metric="spectrum_distance_db", most_over_floor=3),
        Threshold(metric="finest_octave_db", at_least=-3, at_most=3),
    )
    """What must hold; the defaults are in docs/release.md."""
    images: Count = 500
    """With fewer samples, the gate is insufficient."""


class Diversity(Gate):
    """Samples cover the real images, and those of a class are no more alike than real ones are."""

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric="coverage", least_share_of_floor=0.8),
        Threshold(metric="pairwise_ms_ssim", groups=("{label}=*",), most_over_floor=0.05),
    )
    """What must hold; the defaults are in docs/release.md."""


class Adherence(Gate):
    """The reader reads from samples what was asked for, nearly as often as from held-out real images."""

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric="accuracy", groups=("{label}",), least_share_of_floor=0.8, least_floor=0.5),
        Threshold(metric="accuracy", groups=("{label}=*",), least_share_of_floor=0.7, least_floor=0.5),
        Threshold(metric="rank_correlation", groups=("severity",), least_share_of_floor=0.7, required=False),
    )
    """What must hold; the defaults are in docs/release.md."""


class Anatomy(Gate):
    """Structures lie where the mask that was asked for has them; for datasets with a mask condition alone."""

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric="mean_dice", groups=("*",), least_share_of_floor=0.8, required=False),
    )
    """What must hold; the defaults are in docs/release.md."""


class Shortcut(Gate):
    """A classifier that is trained on samples reads the finding, and no mark that the generator leaves on a class."""

    thresholds: tuple[Threshold, ...] = (Threshold(metric="shortcut_gap", at_most=0.15),)
    """What must hold; the defaults are in docs/release.md."""


class Worth(Gate):
    """A classifier gains by the samples, over augmentation and duplicates; where the step `utility` runs alone."""

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric=AUROC_GAIN, at_least=-0.01, whole_interval=True),
        # Above 0: a recall moves by one image of one classifier, which is more than this.
        Threshold(metric=RECALL_GAIN, groups=("{targeted}",), at_least=1e-6, whole_interval=True, required=False),
    )
    """What must hold; the defaults are in docs/release.md."""
    targeted: str | None = None
    """The class whose recall must gain; null takes those that a plan `oversample` of the label makes samples for."""


class Privacy(Gate):
    """The weights tell training subjects from held-out ones no better than nearly by chance, by an audit that finds a
    canary; where the step `membership` runs alone.
    """

    thresholds: tuple[Threshold, ...] = (
        Threshold(metric=AUC, at_most=0.55),
        Threshold(metric=CANARY_AUC, at_least=0.9, fewest=1, of_judge=True, allow_for_chance=False),
    )
    """What must hold; the defaults are in docs/release.md."""


# The planted copies that the search must find, by kind of change, as `judges.planted.WANTED` has them.
RECALL: dict[str, Fraction] = {
    **dict.fromkeys(
        ("exact", "mirrored", "gamma 0.7 or 1.4", "noise of 5 %", "turned 5°", "scaled 10 %", "shifted 10 %"), 0.95
    ),
    "two thirds copied": 0.8,
}
# Neither configured nor waived.
COPIES = Gate(
    thresholds=(
        *(
            Threshold(
                metric="copy_recall", groups=(kind,), at_least=share, fewest=50, of_judge=True, allow_for_chance=False
            )
            for kind, share in RECALL.items()
        ),
        Threshold(metric="copy_rate", most_over_floor=0.05, allow_for_chance=False),
        Threshold(metric="test_copy_rate", most_over_floor=0.05, allow_for_chance=False),
        Threshold(metric="kept_copy_rate", at_most=0, allow_for_chance=False),
    ),
    subjects=1,
    images=1,
)


class Gates(Strict):
    """Whether a run may be released. The gates `integrity`, `lineage` and `copies` are fixed, and never waived."""

    enforce: bool = True
    """true: a gate that fails and is not waived stops the release. false, for a first look: it is the first thing that
    the card says; what is fixed stops the release all the same.
    """
    reconstruction: Reconstruction = Reconstruction()
    """An autoencoder keeps what an image shows."""
    fidelity: Fidelity = Fidelity()
    """Samples look like held-out real images."""
    diversity: Diversity = Diversity()
    """Samples are as varied as real images."""
    adherence: Adherence = Adherence()
    """Samples show what was asked for."""
    anatomy: Anatomy = Anatomy()
    """Structures lie where they were asked for."""
    shortcut: Shortcut = Shortcut()
    """No mark gives the class away."""
    utility: Worth = Worth()
    """A classifier gains by the samples."""
    membership: Privacy = Privacy()
    """The weights do not tell who was in the training."""

    @model_validator(mode="before")
    @classmethod
    def _are_fixed(cls, section: Any) -> Any:
        for name in NEVER_WAIVED:
            if isinstance(section, dict) and name in section:
                raise ValueError(f"{name} is fixed: it has no thresholds here and is never waived")
        return section

    def by_name(self, running: Collection[str] = ()) -> dict[str, Gate]:
        """Every gate over metrics, `copies` among them.

        Args:
            running: steps of OF_STEPS that run; the gates of others are left out.
        """
        found = {name: gate for name in type(self).model_fields if isinstance(gate := getattr(self, name), Gate)}
        found = {name: gate for name, gate in found.items() if name not in OF_STEPS or name in running}
        if not self.enforce:
            said = {"waived": NOT_ENFORCED}
            found = {name: gate if gate.waived else gate.model_copy(update=said) for name, gate in found.items()}
        return found | {"copies": COPIES}
