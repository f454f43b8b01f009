"""The dataset that is handed over: images that say what they are, one table, a card, and checksums.

The folder is a Hugging Face ImageFolder as it stands. Requested conditions keep the training table's column names, so
that the two tables can be put together; what the predictor read from the image is `predicted_<field>`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as PngImage
from PIL.PngImagePlugin import PngInfo

from medsynth import __version__, tables
from medsynth.columns import PREDICTED, VERDICT
from medsynth.errors import InputError
from medsynth.files import folder_written_whole, sha256, written_whole
from medsynth.modalities import MODALITIES
from medsynth.store import Store

DISCLAIMER = "Synthetic image: shows no real patient. For research and teaching, not for diagnosis."


@dataclass(frozen=True)
class Grey:
    """How stored PNG values mean an intensity in the modality's unit: value * slope + intercept."""

    dtype: type[np.uint8] | type[np.uint16]
    slope: float
    intercept: float
    high: float

    def values(self, image: np.ndarray) -> np.ndarray:
        """PNG values (H, W) or (H, W, 3) of a stored uint16 image (C, H, W)."""
        intensity_above_low = image.astype(np.float64) / 65535 * (self.high - self.intercept)
        values = np.rint(intensity_above_low / self.slope).astype(self.dtype)
        return values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)


@dataclass(frozen=True)
class Provenance:
    """What the images came from: the model's family, and SHA-256 of its weights, its settings and its training data.

    Attributes:
        images_seen: by the generator while it trained, and by its teacher, each as often as it came.
        teacher: SHA-256 of the weights of the generator that it learnt from, None where it learnt from images alone.
    """

    family: str
    images_seen: int
    teacher: str | None
    generator: str
    config: str
    training_data: str


def grey_scale(store: Store) -> Grey:
    """The PNG scale for a store: the modality's own intensities, as the training images show them.

    A fixed window is kept in whole units (CT: Hounsfield units above the window's lower end). What is shown in 8 bits
    stays so, and so does colour, since programs that read 16-bit RGB are rare. Anything else fills 16 bits.
    Images with windows of their own are given the median window of the training images.
    """
    modality = MODALITIES[store.info.modality]
    rows = store.split("train").samples
    low, high = (float(np.median(rows[end].astype(float))) for end in ("low", "high"))
    if modality.intensity == "window":
        return Grey(np.uint16, 1.0, low, high)
    if modality.channels == 3 or (modality.intensity == "display" and high - low <= 255):
        return Grey(np.uint8, (high - low) / 255, low, high)
    return Grey(np.uint16, (high - low) / 65535, low, high)


def release(
    store: Store,
    images: np.ndarray,
    rows: pd.DataFrame,
    verdicts: pd.DataFrame,
    metrics: pd.DataFrame,
    checkpoint_info: Mapping[str, Any],
    out: Path,
) -> None:
    """Write the folder of one dataset and model: images, tables, generator.json, card and checksums.

    Args:
        images: uint16 (N, C, H, W), one for each of `rows`, on the store's scale.
        rows: sample_id, seed, model_sha256, sampler and the conditions as asked.
        verdicts: sample_id, predicted_<field>, requested_probability, conformity, nearest_similarity, verdict (kept or
            rejected), reason.
        metrics: the evaluation's metrics.csv.
        checkpoint_info: the content of model.json.
    Raises:
        InputError: the images, rows, verdicts, model and store do not belong together.
    """
    configuration = _configuration(checkpoint_info, rows)
    made_by = _provenance(checkpoint_info, configuration)
    if made_by.training_data != store.info.digest:
        trained_on, given = made_by.training_data[:12], store.info.digest[:12]
        raise InputError(f"release: the model was trained on data {trained_on}…, the store holds {given}…")
    table = _join(images, rows, verdicts)
    strange = table.loc[table["model_sha256"] != made_by.generator, "sample_id"]
    if len(strange):
        raise InputError(f"release: sample {strange.iloc[0]} is not by the model {made_by.generator[:12]}… at hand")
    grey = grey_scale(store)
    table = table.drop(columns="model_sha256").assign(
        generator_sha256=made_by.generator,
        config_sha256=made_by.config,
        training_data_sha256=made_by.training_data,
        synthetic="true",
    )
    kept = table[table["verdict"] == "kept"]
    rejected = table[table["verdict"] == "rejected"]
    with folder_written_whole(out) as folder:
        (folder / "images").mkdir()
        names = [f"images/{sample_id}.png" for sample_id in kept["sample_id"]]
        for position, name in zip(kept.index, names, strict=True):
            _write_png(
                folder / name, grey.values(images[position]), str(kept.at[position, "sample_id"]), made_by.generator
            )
        rescaled = kept.assign(rescale_slope=grey.slope, rescale_intercept=grey.intercept)
        _write_table(rescaled.drop(columns="sampler"), folder / "metadata.csv", names)
        _write_table(rejected.drop(columns="sampler"), folder / "rejected.csv")
        (folder / "generator.json").write_text(configuration, encoding="utf-8")
        (folder / "README.md").write_text(card(store, table, metrics, made_by, grey), encoding="utf-8")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        sums = "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
        (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


def release_one(sample_id: str, image: np.ndarray, results: Path, out: Path) -> None:
    """Write one sample as the PNG that its release holds.

    Args:
        sample_id: <dataset>-<model>-<number>.
        image: uint16 (C, H, W) on the store's scale.
        results: folder of all steps' outputs.
    """
    dataset, model, _ = sample_id.split("-")
    info = json.loads((results / "train" / dataset / model / "model.json").read_text(encoding="utf-8"))
    grey = grey_scale(Store.open(results / "prepare" / dataset))
    with written_whole(out) as part:
        _write_png(part, grey.values(image), sample_id, info["weights_sha256"])


def _join(images: np.ndarray, rows: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Rows with their verdicts, index 0..N-1 as in `images`."""
    if len(images) != len(rows):
        raise InputError(f"release: {len(images)} images for {len(rows)} sample rows")
    for name, table in (("samples", rows), ("evaluation", verdicts)):
        twice = table.loc[table["sample_id"].duplicated(), "sample_id"]
        if len(twice):
            raise InputError(f"release: sample {twice.iloc[0]} stands twice in the {name} table")
    apart = set(rows["sample_id"]) ^ set(verdicts["sample_id"])
    if apart:
        where = "samples" if min(apart) in set(rows["sample_id"]) else "evaluation"
        raise InputError(f"release: sample {min(apart)} is in the {where} table alone, expected it in both")
    unknown = verdicts.loc[~verdicts["verdict"].isin(["kept", "rejected"])]
    if len(unknown):
        sample_id, verdict = unknown.iloc[0][["sample_id", "verdict"]]
        raise InputError(f"release: sample {sample_id}: verdict {verdict!r}, expected kept or rejected")
    predicted = [column for column in verdicts.columns if column.startswith(PREDICTED)]
    judged = verdicts[["sample_id", *predicted, *VERDICT]]
    return rows.reset_index(drop=True).merge(judged, on="sample_id", how="left")


def _configuration(checkpoint_info: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """The text of generator.json: how the generator was trained and sampled."""
    samplers = sorted(set(rows["sampler"]))
    if len(samplers) != 1:
        raise InputError(f"release: the samples are by {len(samplers)} samplers, expected one for all")
    configuration = {"train": checkpoint_info.get("settings"), "sampler": json.loads(samplers[0])}
    return json.dumps(configuration, indent=2, sort_keys=True) + "\n"


def _provenance(checkpoint_info: Mapping[str, Any], configuration: str) -> Provenance:
    try:
        return Provenance(
            family=checkpoint_info["settings"]["model"]["family"],
            images_seen=checkpoint_info["images_seen"],
            teacher=checkpoint_info["teacher_sha256"],
            generator=checkpoint_info["weights_sha256"],
            config=hashlib.sha256(configuration.encode()).hexdigest(),
            training_data=checkpoint_info["store"]["digest"],
        )
    except KeyError as error:
        raise InputError(f"release: model.json has no key {error}") from None


def _write_png(path: Path, values: np.ndarray, sample_id: str, generator: str) -> None:
    about = PngInfo()
    about.add_text("Title", sample_id)
    about.add_text("Disclaimer", DISCLAIMER)
    about.add_text("Software", f"medsynth {__version__}")
    about.add_text("Source", f"generator sha256 {generator}")
    PngImage.fromarray(np.ascontiguousarray(values)).save(path, pnginfo=about)


def _write_table(table: pd.DataFrame, path: Path, file_names: list[str] | None = None) -> None:
    if file_names is not None:
        table = table.copy()
        table.insert(0, "file_name", file_names)
    tables.write(path, table)


# --- the card ---------------------------------------------------------------------------------------------------


SIMULATED = """The images that the generator learned from and is measured against are simulated themselves. Where this
card says real, it means those: no patient is in them.

"""


def card(store: Store, table: pd.DataFrame, metrics: pd.DataFrame, made_by: Provenance, grey: Grey) -> str:
    """The dataset card in Markdown, with the front matter that Hugging Face reads."""
    info, modality = store.info, MODALITIES[store.info.modality]
    kept = int((table["verdict"] == "kept").sum())
    size = " x ".join(str(n) for n in info.size)
    bits = np.dtype(grey.dtype).itemsize * 8
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

{SIMULATED if info.simulated else ""}{kept} images of {size} pixels, {bits}-bit PNG. An intensity in {modality.unit} is
the PNG's value * {grey.slope:g} + {grey.intercept:g} (`rescale_slope`, `rescale_intercept`). `metadata.csv` has one
row an image: the conditions as asked under their own names, and as an independent predictor read them from the image
under `predicted_`. Places are fractions of the image from its left and upper edge, a size is a diameter as a fraction
of its width.

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
| generator that it learnt from, SHA-256 | {made_by.teacher or "none, from images alone"} |
| training data, SHA-256 | {made_by.training_data} |
| training images | {len(store.split("train"))}, of {info.rows_in} rows; {info.rows_quarantined} could not be used |
| images that the generator, and its teacher, saw in training, repeats counted | {made_by.images_seen} |
| sampler | {_listed(table["sampler"])} |
| seeds | one for each image, in `metadata.csv` |

`sha256sum -c SHA256SUMS` checks every file.

## Intended use and limits

For research and teaching: augmenting training sets, testing software, showing examples. Not for diagnosis, nor as
evidence of how a disease looks. The images repeat the biases of the training images and add their own. A label is what
was asked of the generator, not what a reader found. Images close to a training image were rejected, which lowers the
risk of showing one but does not exclude it. A model trained on these images must be tested on real ones.
"""


def _size_category(count: int) -> str:
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((name for bound, name in bounds if count < bound), "n>1M")


def _listed(values: pd.Series) -> str:
    return ", ".join(f"`{value}`" for value in sorted(values.unique())) or "none"


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
