"""The dataset card: what was asked, how good it is, how it was made, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from medsynth import __version__
from medsynth.artifacts.store import Store
from medsynth.conditions.requests import lacking
from medsynth.config import ReleaseSettings
from medsynth.config.columns import MASK_FILE, PREDICTED, SURPLUS
from medsynth.images.image import spacing_of
from medsynth.release.findings import findings, interval, reads_label, short
from medsynth.release.formats import Encoder, ReleaseFormat, file_columns
from medsynth.release.gate_table import gate_table, gates_in_words
from medsynth.release.handovers.form import Contents, HandOver
from medsynth.release.markdown import code, listed, plain
from medsynth.release.markdown import table as markdown_table
from medsynth.release.membership_words import is_of_membership, membership_words
from medsynth.release.provenance import Provenance
from medsynth.release.subgroup_table import is_of_subgroups, subgroup_table
from medsynth.release.utility_table import is_of_utility, utility_table

MASKS = """
`masks/`, named by `mask_file_name`, has the label maps that images were asked for by. They were not generated: each is
that of a training image.
"""
SIMULATED = """The images that the generator learned from and is measured against are simulated themselves. Where this
card says real, it means those: no patient is in them.

"""
DIGESTS = {
    False: "SHA-256 of its file (`sha256sum FILE`), of a folder that of its files in one",
    True: "SHA-256 of its stored pixels, since it was simulated and has no file",
}
USES = {"train": "training", "val": "validation", "test": "tests"}
UNREAD = """
The predictor cannot read {label} on held-out real images: here `kept` means that no copy was found, and no more.
"""


def card(
    settings: ReleaseSettings,
    store: Store,
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    gates: pd.DataFrame,
    contents: Contents,
    handovers: Sequence[HandOver] = (),
) -> str:
    """The dataset card in Markdown, with the front matter that Hugging Face reads.

    Args:
        metrics: metrics.csv, and what further steps measured in its columns, as text.
        gates: gates.csv as text.
        contents: what is handed over, and handovers: the further forms of it.
    """
    info, made_by, encoder = store.info, contents.made_by, contents.encoder
    kept = int((table["verdict"] == "kept").sum())
    size = " x ".join(str(n) for n in info.size)
    cells = "voxels" if len(info.size) == 3 else "pixels"
    bits = np.dtype(encoder.grey.dtype).itemsize * 8
    spacing = _spacing(encoder, len(info.size))
    places = "its left and upper edge" if len(info.size) == 2 else "its first voxel"
    source = "simulated" if info.simulated else "real"
    front = "\n".join([*contents.licence.front_matter(), *_data_files(contents, handovers)])
    unread = "" if reads_label(metrics, info.label) else UNREAD.format(label=info.label)
    return f"""---
pretty_name: "{info.dataset}: synthetic images ({info.modality})"
{front}
tags:
  - synthetic
  - medical
  - {info.modality.replace("_", "-")}
size_categories:
  - {_size_category(kept)}
---

# {info.dataset}: synthetic images ({info.modality})

**Every image here is synthetic: made by a generative model that was trained on {source} images. They were screened for
copies of those, which does not prove that there is none. Not for diagnosis.**

## Read this first

{gates_in_words(gates)}

{findings(metrics, table, info.label)}

## What is here

{SIMULATED if info.simulated else ""}{kept} images of {size} {cells}, {bits} bits deep, {spacing}. Intensities
are in {info.unit}. Each image stands in `images/` as

{_files(contents.formats)}
{MASKS if MASK_FILE in contents.table else ""}
`gallery.html` shows them all, to be filtered and sorted by what `metadata.csv` has of them: open it in a browser.

`metadata.csv` has one row an image: the conditions as asked under their own names, and as an independent predictor
read them from the image under `predicted_`. Places are fractions of the image from {places}, a size is a diameter as a
fraction of its width. `metadata.schema.json` says of each column what it holds, as a Table Schema.
{_forms(handovers)}
`real_split.csv` names the {source} images by digest, {DIGESTS[info.simulated]}, with their split: the generator learned
from `train`; `val` chose its weights and set the limits of the screening; `test` is what it was measured against. A
classifier that learned from synthetic images must not be tested on a `train` image, nor learn from an image that it is
tested on. Who holds a file can look it up; to anybody else a digest says nothing.
{_elsewhere(made_by)}
## Asked, kept, rejected

{_by_class(table, info.label)}
{_wanted(settings, store, table)}
A sample is rejected for two things alone. It is more like a training image (`nearest_similarity`) than nearly all
held-out real images are. Or, unless the run left this out, the predictor reads another {info.label} than was asked, and
gives the one that was asked a probability (`requested_probability`) as low as at most 5 % of real images of that class
get; `conformity` is that share. So a kept image can be read as another class, where the predictor is unsure of real
ones too; and neither a lesion's place nor any condition but {info.label} is a reason: compare them with `predicted_`,
and filter as your use needs. Rejected samples have no image; `rejected.csv` lists them with the reason, without their
seed and without conditions other than {info.label}, so that a rejected copy cannot be made again from it.
{unread}
## Gates

{gate_table(gates)}

A gate judges the whole run by thresholds over its metrics; `gates.csv` has every line. One that fails stops the
release where the configuration enforces the gates and gives no reason to waive it. One is insufficient where too little
is known to tell.

## How good they are

Of all samples that were asked for, kept or not:

{_metric_table(metrics[~(is_of_utility(metrics) | is_of_membership(metrics) | is_of_subgroups(metrics))])}

CI is a 95 % interval. Of `kid` and `kid_texture`, a bootstrap over the subjects of the held-out real images and over
the synthetic images; of `fid`, `fid_texture`, `density`, `coverage`, `spectrum_distance_db` and `finest_octave_db`, a
jackknife that leaves out groups of those subjects, and groups of synthetic images; of `pairwise_ms_ssim`, a bootstrap
over the images on both sides; of `shortcut_auc` and `shortcut_gap`, a bootstrap over the subjects of the real images
and over the synthetic images; of all else, a bootstrap over the synthetic images alone. No interval covers what another
training of the generator or of the predictor would change. The floor is what held-out real images reach in place of the
synthetic ones: a measure does not tell images that reach it from real ones. An `accuracy` above its floor means images
that are easier to read than real ones, not better. Where neither higher nor lower is better, the nearer to the floor
the better: noise is like no training image, and a copy is like one. `real` and `synthetic` count images; metrics that
compare features use only real images of the classes that were asked for, and synthetic images in the same shares.
{_extractors(metrics)}
## Groups of people

{subgroup_table(metrics)}

Accuracy is the share whose {info.label} is read as asked, `kid` the distance to real images of the group; intervals and
floors are as above.

## What they are worth to a classifier

{utility_table(metrics, gates)}

Each way of training has as many steps and the same augmentation; test subjects judge. The baseline is real images
alone, or with duplicates in place of samples, whichever is better. CI is a 95 % interval over test subjects and
classifiers, for all ways of training together.

## What the generator knows of its training subjects

{membership_words(metrics)}

An AUC of 0.5 is chance. The audit looks at the weights, which are not handed over: whoever has the images alone knows
less. That nothing was found does not prove that nothing can be.

## How they were made

| what | value |
| --- | --- |
| software | medsynth {__version__} |
| model family | {made_by.family} |
| generator, SHA-256 | {made_by.generator} |
| `generator.json`: how it was trained and sampled, SHA-256 | {made_by.config} |
| generators that it began from or learnt from, SHA-256 | {_parents(made_by)} |
| training data, SHA-256 | {made_by.training_data} |
| real images | {_real_images(store)} |
| licence | {plain(contents.licence.text)} |
| source of the training images, to be cited | {_stated(settings.citation)} |
| images that the generator, and those before it, saw in training, repeats counted | {made_by.images_seen} |
| overfitting, by its loss on held-out images | {_overfitting(made_by)} |
| sampler | {_samplers(table["sampler"])} |
| how the sampler was chosen | {made_by.tuned} |
| seeds | one for each image, in `metadata.csv` |

`sha256sum -c SHA256SUMS` checks every file.

## Intended use and limits

For research and teaching: augmenting training sets, testing software, showing examples. Not for diagnosis, nor as
evidence of how a disease looks. The images repeat the biases of the training images and add their own. A label is what
was asked of the generator, not what a reader found. Images close to a training image were rejected, which lowers the
risk of showing one but does not exclude it. A model trained on these images must be tested on real ones.
"""


def _real_images(store: Store) -> str:
    counts = [f"{len(store.split(split))} for {use}" for split, use in USES.items()]
    return f"{listed(counts)}; {store.info.rows_quarantined} of {store.info.rows_in} could not be used"


def _spacing(encoder: Encoder, spatial_dims: int) -> str:
    if encoder.affine is None:
        return "of no stated size in mm"
    spacing = " x ".join(f"{mm:.3g}" for mm in spacing_of(encoder.affine, spatial_dims))
    return f"each {spacing} mm (the median of the training images)"


def _files(formats: Mapping[str, ReleaseFormat]) -> str:
    columns = file_columns(tuple(formats))
    return "\n".join(f"- `*{kind.suffix}`, named by `{columns[name]}`. {kind.scale}." for name, kind in formats.items())


def _data_files(contents: Contents, handovers: Sequence[HandOver]) -> list[str]:
    """Which files Hugging Face `datasets` loads: by itself, it guesses by the most common suffix."""
    folders = ("images", *(["masks"] if MASK_FILE in contents.table else []))
    own = (*(f"{folder}/*{contents.first_format.suffix}" for folder in folders), "metadata.csv")
    chosen = next((form.data_files for form in handovers if form.data_files), own)
    return ["configs:", "  - config_name: default", "    data_files:", *(f'      - "{name}"' for name in chosen)]


def _forms(handovers: Sequence[HandOver]) -> str:
    lines = [f"- {form.summary}" for form in handovers]
    return "\n".join(["", "The same dataset in further forms:", "", *lines, ""]) if lines else ""


def _size_category(count: int) -> str:
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for bound, name in bounds if count < bound), "n>1M")


def _samplers(values: pd.Series) -> str:
    return listed([code(value) for value in sorted(values.unique())]).replace("|", "&#124;") if len(values) else "none"


def _stated(text: str | None) -> str:
    return plain(text) if text else "not stated"


def _overfitting(made_by: Provenance) -> str:
    if made_by.overfitted_from is None:
        return "not seen (a family whose score is not its loss, as a GAN, would not show it)"
    return f"seen after {made_by.overfitted_from} images of its own training; the weights are those of then"


def _parents(made_by: Provenance) -> str:
    return ", ".join(f"{role}: {sha256}" for role, sha256 in made_by.parents.items()) or "none, from images alone"


def _elsewhere(made_by: Provenance) -> str:
    what = {True: "simulated images, which show no patient", False: "other images, which are not listed"}
    return "".join(
        f"Its {role}, a generator before it, learned from {what[simulated]}.\n"
        for role, simulated in made_by.elsewhere.items()
    )


def _extractors(metrics: pd.DataFrame) -> str:
    """What the metrics that compare features look through."""
    named = metrics[metrics["extractor"] != ""]
    lines = [
        f"{listed([code(metric) for metric in of['metric'].unique()])} compare features by the extractor `{name}`."
        for name, of in named.groupby("extractor", sort=True)
    ]
    return "\n".join(["", *lines, ""]) if lines else ""


def _by_class(table: pd.DataFrame, label: str) -> str:
    groups = [(value or "missing", group) for value, group in table.groupby(label, sort=True)]
    unkept = ("rejected", SURPLUS) if (table["verdict"] == SURPLUS).any() else ("rejected",)
    rows = []
    for name, group in [*groups, ("all", table)]:
        kept = group[group["verdict"] == "kept"]
        others = int(((kept[f"{PREDICTED}{label}"] != kept[label]) & (kept[label] != "")).sum())
        left = [int((group["verdict"] == verdict).sum()) for verdict in unkept]
        rows.append((plain(name), *(str(count) for count in (len(group), len(kept), others, *left))))
    header = (label, "asked", "kept", f"of them read as another {label}", *unkept)
    return markdown_table(header, ("---", *["---:"] * (len(header) - 1)), rows)


def _wanted(settings: ReleaseSettings, store: Store, table: pd.DataFrame) -> str:
    """Of a plan by kept samples: which classes lack some, and how many samples were surplus."""
    if (request := settings.oversample) is None:
        return ""
    column = request.column
    values = store.info.condition_schema.fields[column].values  # type: ignore[attr-defined]  # it has classes
    wanted = lacking(values, store.split("train").samples[column], request.minimum)
    kept = table.loc[table["verdict"] == "kept", column].value_counts()
    lack = [
        f"{plain(value)} ({count - kept.get(value, 0)} of {count})"
        for value, count in wanted.items()
        if kept.get(value, 0) < count
    ]
    surplus = int((table["verdict"] == SURPLUS).sum())
    reached = f"Every {column} has the kept samples that it lacked."
    if lack:
        reached = f"**Too few samples were kept of {listed(lack)}**: in brackets, how many lack of how many."
    return f"""
The plan asked for {request.minimum} training images and kept samples of each {column} together. Of each, it sampled
{request.limit:g} times as many as it lacked. {reached}
Surplus samples, {surplus} of them, passed but were not needed: they are not handed over, `rejected.csv` lists them.
"""


def _metric_table(metrics: pd.DataFrame) -> str:
    better = {"true": "higher", "false": "lower"}
    columns = ("metric", "group", "value", "CI", "floor", "real", "synthetic", "better", "note")
    aligned = ("---", "---", "---:", "---", "---:", "---:", "---:", "---", "---")
    rows = [
        (
            plain(row["metric"]),
            plain(row["group"]),
            short(row["value"]),
            interval(row),
            *(short(row[column]) for column in ("floor", "n_real", "n_synthetic")),
            better.get(row["higher_is_better"].lower(), "neither"),
            plain(row["note"]),
        )
        for row in metrics.to_dict("records")
    ]
    return markdown_table(columns, aligned, rows)
