"""The dataset card: what was asked, how good it is, how it was made, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from medsynth import __version__
from medsynth.artifacts.store import Store
from medsynth.images.image import spacing_of
from medsynth.images.modalities import MODALITIES
from medsynth.release.formats import Encoder, ReleaseFormat, file_columns
from medsynth.release.provenance import Provenance

MASKS = """
`masks/`, named by `mask_file_name`, has the label maps that images were asked for by. They were not generated: each is
that of a training image.
"""
SIMULATED = """The images that the generator learned from and is measured against are simulated themselves. Where this
card says real, it means those: no patient is in them.

"""


def card(
    store: Store,
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    made_by: Provenance,
    encoder: Encoder,
    formats: Mapping[str, ReleaseFormat],
    masks: bool = False,
) -> str:
    """The dataset card in Markdown, with the front matter that Hugging Face reads.

    Args:
        masks: whether the label maps that images were asked for by are handed over.
    """
    info, modality = store.info, MODALITIES[store.info.modality]
    kept = int((table["verdict"] == "kept").sum())
    size = " x ".join(str(n) for n in info.size)
    cells = "voxels" if len(info.size) == 3 else "pixels"
    bits = np.dtype(encoder.grey.dtype).itemsize * 8
    spacing = _spacing(encoder, len(info.size))
    places = "its left and upper edge" if len(info.size) == 2 else "its first voxel"
    return f"""---
pretty_name: "{info.dataset}: synthetic images ({info.modality})"
license: other
license_name: unspecified
tags:
  - synthetic
  - medical
  - {info.modality.replace("_", "-")}
size_categories:
  - {_size_category(kept)}
---

# {info.dataset}: synthetic images ({info.modality})

**Every image here was generated. None shows a patient, and none may be used for diagnosis.**

{SIMULATED if info.simulated else ""}{kept} images of {size} {cells}, {bits} bits deep, {spacing}. Intensities
are in {modality.unit}. Each image stands in `images/` as

{_files(formats)}
{MASKS if masks else ""}
`metadata.csv` has one row an image: the conditions as asked under their own names, and as an independent predictor
read them from the image under `predicted_`. Places are fractions of the image from {places}, a size is a diameter as a
fraction of its width.

## Asked, kept, rejected

{_by_class(table, info.label)}

A sample is rejected for two things alone. It is more like a training image (`nearest_similarity`) than nearly all
held-out real images are. Or, unless the run left this out, the predictor reads another {info.label} than was asked, and
gives the one that was asked a probability (`requested_probability`) as low as at most 5 % of real images of that class
get; `conformity` is that share. So a kept image can be read as another class, where the predictor is unsure of real
ones too; and neither a lesion's place nor any condition but {info.label} is a reason: compare them with `predicted_`,
and filter as your use needs. Rejected samples have no image; `rejected.csv` lists them with the reason.

## How good they are

Of all samples that were asked for, kept or not:

{_metric_table(metrics)}

CI is a 95 % interval. Of `kid`, a bootstrap over the subjects of the held-out real images and over the synthetic
images; of `fid`, `density` and `coverage`, a jackknife that leaves out groups of those subjects, and groups of
synthetic images; of all else, a bootstrap over the synthetic images alone. No interval covers what another training of
the generator or of the predictor would change. The floor is what held-out real images reach in place of the synthetic
ones: a value that good cannot be told from real images by this measure.

## How they were made

| what | value |
| --- | --- |
| software | medsynth {__version__} |
| model family | {made_by.family} |
| generator, SHA-256 | {made_by.generator} |
| `generator.json`: how it was trained and sampled, SHA-256 | {made_by.config} |
| generators that it began from or learnt from, SHA-256 | {_parents(made_by)} |
| training data, SHA-256 | {made_by.training_data} |
| training images | {len(store.split("train"))}, of {info.rows_in} rows; {info.rows_quarantined} could not be used |
| images that the generator, and those before it, saw in training, repeats counted | {made_by.images_seen} |
| sampler | {_listed(table["sampler"])} |
| seeds | one for each image, in `metadata.csv` |

`sha256sum -c SHA256SUMS` checks every file.

## Intended use and limits

For research and teaching: augmenting training sets, testing software, showing examples. Not for diagnosis, nor as
evidence of how a disease looks. The images repeat the biases of the training images and add their own. A label is what
was asked of the generator, not what a reader found. Images close to a training image were rejected, which lowers the
risk of showing one but does not exclude it. A model trained on these images must be tested on real ones.
"""


def _spacing(encoder: Encoder, spatial_dims: int) -> str:
    if encoder.affine is None:
        return "of no stated size in mm"
    spacing = " x ".join(f"{mm:.3g}" for mm in spacing_of(encoder.affine, spatial_dims))
    return f"each {spacing} mm (the median of the training images)"


def _files(formats: Mapping[str, ReleaseFormat]) -> str:
    columns = file_columns(tuple(formats))
    return "\n".join(f"- `*{kind.suffix}`, named by `{columns[name]}`. {kind.scale}." for name, kind in formats.items())


def _size_category(count: int) -> str:
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for bound, name in bounds if count < bound), "n>1M")


def _listed(values: pd.Series) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values.unique())) or "none"


def _parents(made_by: Provenance) -> str:
    return ", ".join(f"{role}: {sha256}" for role, sha256 in made_by.parents.items()) or "none, from images alone"


def _by_class(table: pd.DataFrame, label: str) -> str:
    lines = [_line(label, "asked", "kept", "rejected"), "| --- | ---: | ---: | ---: |"]
    groups = [(value or "missing", group) for value, group in table.groupby(label, sort=True)]
    for name, group in [*groups, ("all", table)]:
        kept = int((group["verdict"] == "kept").sum())
        lines.append(_line(name, len(group), kept, len(group) - kept))
    return "\n".join(lines)


def _metric_table(metrics: pd.DataFrame) -> str:
    lines = [
        _line("metric", "group", "value", "CI", "floor", "real", "synthetic", "better"),
        "| --- | --- | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for row in metrics.to_dict("records"):
        value, low, high, floor, n_real, n_synthetic = (
            _short(row[c]) for c in ("value", "ci_low", "ci_high", "floor", "n_real", "n_synthetic")
        )
        group = "" if pd.isna(row["group"]) else row["group"]
        interval = f"{low} to {high}" if low and high else ""
        better = "higher" if str(row["higher_is_better"]).lower() == "true" else "lower"
        lines.append(_line(row["metric"], group, value, interval, floor, n_real, n_synthetic, better))
    return "\n".join(lines)


def _line(*cells: Any) -> str:
    return f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |"


def _short(value: Any) -> str:
    """Three significant digits; empty when there is no number."""
    if value == "" or pd.isna(value):
        return ""
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e9 else f"{number:.3g}"
