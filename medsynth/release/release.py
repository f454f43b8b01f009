"""The dataset that is handed over: images that say what they are, tables, a card, and checksums.

Where it is PNG without masks, the folder is a Hugging Face ImageFolder as it stands. Requested conditions keep the
training table's column names, so that the two tables can be put together; what the predictor read from the image is
`predicted_<field>`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsynth import __version__, registry
from medsynth.artifacts.outcomes import FILE as GATES
from medsynth.artifacts.outcomes import refusals
from medsynth.artifacts.released import MARK
from medsynth.artifacts.shards import Images
from medsynth.artifacts.store import Store, typical_spacing_mm
from medsynth.config import ReleaseSettings
from medsynth.config.columns import DIGESTS, MASK_FILE, MASK_OF, PREDICTED, SURPLUS, VERDICT
from medsynth.config.formats import DEFAULTS
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole, sha256, written_whole
from medsynth.errors import InputError
from medsynth.pages import gallery, niivue, volumes
from medsynth.release.card import card
from medsynth.release.formats import Encoder, ReleaseFormat, file_columns, named, of_file, typical_affine
from medsynth.release.handovers.form import Contents, HandOver
from medsynth.release.intensity import grey_scale
from medsynth.release.licence import licence_of
from medsynth.release.metadata import SCHEMA, describe, schema_text
from medsynth.release.provenance import configuration_of, provenance_of

log = logging.getLogger(__name__)

# NIfTI's description has room for the first 80 bytes alone, the sample's id among them.
DISCLAIMER = (
    f"{MARK}: made by a generative model trained on {{source}} images; "
    "screened for copies of them, not proven to be none."
)


def release(
    settings: ReleaseSettings,
    store: Store,
    images: Images,
    rows: pd.DataFrame,
    verdicts: pd.DataFrame,
    metrics: pd.DataFrame,
    gates: pd.DataFrame,
    checkpoint_info: Mapping[str, Any],
    tuned: Mapping[str, Any],
    out: Path,
    masks: Images | None = None,
) -> None:
    """Write the folder of one dataset and model: images, tables, generator.json, card and checksums.

    Args:
        settings: the formats that each image is written in.
        images: uint16 (N, C, *spatial), one for each of `rows`, on the store's scale.
        rows: sample_id, seed, model_sha256, sampler and the conditions as asked.
        verdicts: sample_id, predicted_<field>, requested_probability, conformity, nearest_similarity, verdict (kept,
            rejected or surplus), reason.
        metrics: the evaluation's metrics.csv, and what further steps measured in its columns, as text.
        gates: gates.csv, as text.
        checkpoint_info: the content of model.json.
        tuned: the content of sampler.json.
        masks: uint8 (N, *spatial), the label maps that the images were asked for by; None where no condition is a mask.
            They are training subjects' own, and are written where the settings say so, or the subjects are simulated.
    Raises:
        InputError: a gate fails and is not waived; no licence is stated; the images, rows, verdicts, model and store do
            not belong together.
    """
    if refused := refusals(gates):
        raise InputError(f"release: {refused[0]}")
    licence = licence_of(settings.licence, store.info.dataset)
    configuration = configuration_of(checkpoint_info, tuned, rows)
    made_by = provenance_of(checkpoint_info, tuned, configuration)
    if made_by.training_data != store.info.digest:
        trained_on, given = made_by.training_data[:12], store.info.digest[:12]
        raise InputError(f"release: the model was trained on data {trained_on}…, the store holds {given}…")
    table = _join(images, rows, verdicts)
    strange = table.loc[table["model_sha256"] != made_by.generator, "sample_id"]
    if len(strange):
        raise InputError(f"release: sample {strange.iloc[0]} is not by the model {made_by.generator[:12]}… at hand")
    encoder = _encoder(store, made_by.generator)
    handovers: list[HandOver] = [registry.HANDOVERS[name].load() for name in settings.handovers]
    formats, file_column = named(settings.formats), file_columns(settings.formats)
    outlined = table.get(MASK_OF, pd.Series("", table.index)) != ""
    table = table.drop(columns=["model_sha256", MASK_OF], errors="ignore").assign(
        generator_sha256=made_by.generator,
        config_sha256=made_by.config,
        training_data_sha256=made_by.training_data,
        synthetic="true",
    )
    kept = table[table["verdict"] == "kept"]
    rejected = table[table["verdict"] != "kept"]
    with folder_written_whole(out) as folder:
        (folder / "images").mkdir()
        for sample_id, position in zip(kept["sample_id"], kept.index, strict=True):
            for kind in formats.values():
                content = encoder.encode(kind, images[position], sample_id)
                (folder / _file_name(sample_id, kind)).write_bytes(content)
        files = {
            file_column[name]: [_file_name(sample_id, kind) for sample_id in kept["sample_id"]]
            for name, kind in formats.items()
        }
        if masks is not None and (settings.masks or store.info.simulated):
            (folder / "masks").mkdir()
            first, *_ = formats.values()
            files[MASK_FILE] = []
            for sample_id, position in zip(kept["sample_id"], kept.index, strict=True):
                name = f"masks/{sample_id}{first.suffix}" if outlined[position] else ""
                files[MASK_FILE].append(name)
                if name:
                    (folder / name).write_bytes(encoder.encode_mask(first, masks[position], sample_id))
        rescaled = kept.assign(rescale_slope=encoder.grey.slope, rescale_intercept=encoder.grey.intercept)
        handed_over = pd.DataFrame(files, index=kept.index).join(rescaled.drop(columns="sampler"))
        tables.write(folder / "metadata.csv", handed_over)
        # Neither the seed of a rejected copy nor all that it was asked for by: with the generator they make it again.
        tables.write(
            folder / "rejected.csv", rejected[["sample_id", store.info.label, *VERDICT, *DIGESTS, "synthetic"]]
        )
        tables.write(folder / "real_split.csv", store.samples[["sha256", "split"]].sort_values("sha256"))
        tables.write(folder / GATES, gates)
        (folder / "generator.json").write_text(configuration, encoding="utf-8")
        contents = _contents(
            *(folder, store, images, kept),
            formats=formats,
            licence=licence,
            citation=settings.citation,
            contrast=settings.contrast,
            made_by=made_by,
            encoder=encoder,
        )
        (folder / SCHEMA).write_text(schema_text(contents.columns), encoding="utf-8")
        text = card(settings, store, table, metrics, gates, contents, handovers)
        (folder / "README.md").write_text(text, encoding="utf-8")
        spacing_mm = typical_spacing_mm(store.split("train"))
        page = gallery.gallery(store.info, handed_over, images, metrics, gates, spacing_mm)
        (folder / gallery.FILE).write_text(page, encoding="utf-8")
        viewed = next((file_column[name] for name, kind in formats.items() if kind.viewed), None)
        if viewed and len(store.info.size) == 3:
            page = volumes.volumes(store.info, handed_over, viewed, folder, _viewer())
            (folder / volumes.FILE).write_text(page, encoding="utf-8")
        for handover in sorted(handovers, key=lambda form: form.describes_all):
            handover.write(contents)
        present = sorted(path for path in folder.rglob("*") if path.is_file())
        sums = "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in present)
        (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")


def _contents(folder: Path, store: Store, images: Images, kept: pd.DataFrame, **of: Any) -> Contents:
    """The folder as hand-overs find it."""
    table = tables.read(folder / "metadata.csv")
    columns = tuple(describe(table.columns, store.info.condition_schema))
    return Contents(folder, table, columns, info=store.info, images=images, positions=tuple(kept.index), **of)


def release_one(sample_id: str, image: np.ndarray, results: Path, out: Path | None = None) -> None:
    """Write one sample as the file that its release holds.

    Args:
        sample_id: <dataset>-<model>-<number>.
        image: uint16 (C, *spatial) on the store's scale.
        results: folder of all steps' outputs.
        out: the file, whose suffix says its format; None is the sample's name with the suffix that the dataset was
            released with first, or would be by default.
    """
    dataset, model, _ = sample_id.split("-")
    store = Store.open(results / "prepare" / dataset)
    if out is None:
        out = Path(f"{sample_id}{_first_suffix(results / 'release' / dataset / model, len(store.info.size))}")
    kind, name = of_file(out)
    if reason := registry.RELEASE_FORMATS[name].load_settings().misfit(store.info.image_shape):  # type: ignore[attr-defined]
        raise InputError(f"{out}: {name} {reason}")
    info = json.loads((results / "train" / dataset / model / "model.json").read_text(encoding="utf-8"))
    content = _encoder(store, info["weights_sha256"]).encode(kind, image, sample_id)
    with written_whole(out) as part:
        part.write_bytes(content)


def _viewer() -> str | None:
    viewer = niivue.installed()
    if viewer is None:
        log.warning("%s has no viewer: NiiVue is not installed; `make viewer` installs it", volumes.FILE)
    return viewer


def _encoder(store: Store, generator: str) -> Encoder:
    about = {
        "Disclaimer": DISCLAIMER.format(source="simulated" if store.info.simulated else "real"),
        "Software": f"medsynth {__version__}",
        "Source": f"generator sha256 {generator}",
    }
    return Encoder(grey_scale(store), typical_affine(store), about)


def _file_name(sample_id: str, kind: ReleaseFormat) -> str:
    return f"images/{sample_id}{kind.suffix}"


def _first_suffix(release: Path, spatial_dims: int) -> str:
    table = release / "metadata.csv"
    names: Iterable[str] = tables.read(table, ("file_name",))["file_name"] if table.exists() else ()
    default = named(DEFAULTS[spatial_dims])
    found = next((of_file(Path(name))[0] for name in names), None)
    return (found or next(iter(default.values()))).suffix


def _join(images: Images, rows: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
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
    unknown = verdicts.loc[~verdicts["verdict"].isin(["kept", "rejected", SURPLUS])]
    if len(unknown):
        sample_id, verdict = unknown.iloc[0][["sample_id", "verdict"]]
        raise InputError(f"release: sample {sample_id}: verdict {verdict!r}, expected kept, rejected or {SURPLUS}")
    predicted = [column for column in verdicts.columns if column.startswith(PREDICTED)]
    judged = verdicts[["sample_id", *predicted, *VERDICT]]
    return rows.reset_index(drop=True).merge(judged, on="sample_id", how="left")
