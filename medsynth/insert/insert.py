"""The command `insert`: lesions drawn into real images that have none, at the place, size and severity asked.

Outside of a lesion's surroundings each image stays the real one, so that it shows a patient. It is no synthetic image,
and never part of a release.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medsynth import __version__
from medsynth.artifacts.reference import Reference
from medsynth.artifacts.store import Store, to_intensity
from medsynth.artifacts.tuned import Tuned
from medsynth.conditions import regions
from medsynth.config import InsertSettings
from medsynth.config.columns import PREDICTED
from medsynth.disk import tables
from medsynth.disk.files import folder_written_whole
from medsynth.images.formats import nifti, raster
from medsynth.images.image import Image
from medsynth.insert import figures
from medsynth.insert.recipients import rows_of
from medsynth.judges.reader import read, reading_cells, restored
from medsynth.machine.devices import choose_device
from medsynth.models.checkpoint import load_model, refuse_other_store
from medsynth.models.generation import Held, generate

log = logging.getLogger(__name__)

FILES = {2: (".png", raster.PNG), 3: (".nii.gz", nifti.NIFTI)}  # by the number of spatial axes
BEFORE = "before_"  # and the column of a reading: of the image without its lesion
ABOUT = "A {source} image with a lesion drawn into it by a generative model. Not for diagnosis."
PATIENT = {
    False: """**These images show patients.** Outside of the region of its lesion each is a real image, as the store
holds it. Treat them as you treat the collection. They were not screened for copies: they are copies.""",
    True: "Outside of the region of its lesion each is a simulated image: no patient is in them.",
}
PAGE = """# {dataset}: lesions drawn into {source} images

{patient}

Not for diagnosis. {count} images of the {split} split, model {model}.

| file | what |
| --- | --- |
| `images/` | the images with their lesions |
| `regions/` | where each was drawn anew: from 0, the {source} image alone, to 255, the model alone |
| `insert.csv` | one row for each image |
| `sheet.png` | the first of them, before and after |

`derived_from` is the SHA-256 of the image that it was, as in the `real_split.csv` of a release. Conditions stand as
asked under their own names, as a reader reads them from the image under `predicted_`, and from the image before under
`before_predicted_`; the reader learned from the `train` split. `change_inside` is the mean absolute change in the
lesion's surroundings, as a share of the grey range. An intensity is a file's value * `rescale_slope` +
`rescale_intercept`.

Split data by `subject_id`, together with the images that these were made from. What a lesion does to the rest of the
body is not drawn.
"""


def insert(
    settings: InsertSettings,
    store: Store,
    reference: Reference,
    header: Sequence[str],
    asked: Iterable[Sequence[str]],
    weights: Path,
    tuned: Path,
    out: Path,
) -> None:
    """Write images/, regions/, insert.csv, sheet.png and README.md.

    Args:
        header, asked: the lesions, a row each, as `read_requests` gives them.
        tuned: sampler.json of the weights.
        out: folder of the results; replaced.
    Raises:
        InputError: the weights or the sampler do not belong to the store, the family cannot hold an image, or the
            settings or rows ask what cannot be.
    """
    info, schema = store.info, store.info.condition_schema
    rows = rows_of(settings, store, header, asked)
    model, made = load_model(weights, choose_device())
    refuse_other_store(weights, made.store, info)
    sampler = Tuned.read(tuned).sampler_of(made.weights_sha256, made.settings.model.family, tuned)
    places = rows["position"].to_numpy()
    before = store.read(places)
    about = regions.surroundings(schema, rows, info.size)
    region = np.stack([regions.fading(each) for each in about])
    images = generate(model, schema, rows, sampler, store.masks_asked(rows), Held(before, region))
    readers = restored(reference.readers, reference.trunk, schema, (len(images), *info.image_shape))
    change = np.abs(to_intensity(images) - to_intensity(before)).mean(1) / 2
    slope, low = _rescale(store, places)
    suffix, _ = FILES[len(info.size)]
    names = [f"{name}{suffix}" for name in rows["sample_id"]]
    real = store.samples.iloc[places].reset_index(drop=True)
    first = {
        "image": [f"images/{name}" for name in names],
        "region": [f"regions/{name}" for name in names],
        "derived_from": real["sha256"],
        "subject_id": real["subject_id"],
        "split": settings.split,
        "seed": rows["seed"],
        "rescale_slope": slope,
        "rescale_intercept": low,
    }
    table = pd.DataFrame(first).join(rows[list(schema.columns)])
    table = table.join(reading_cells(schema, rows, read(readers, images)))
    table = table.join(reading_cells(schema, real, read(readers, before)).add_prefix(BEFORE))
    inside = [float(each[where].mean()) for each, where in zip(change, about, strict=True)]
    table = table.assign(change_inside=inside, model_sha256=made.weights_sha256)
    source = "simulated" if info.simulated else "real"
    with folder_written_whole(out) as folder:
        for kind in ("images", "regions"):
            (folder / kind).mkdir()
        for number, (name, place) in enumerate(zip(names, places, strict=True)):
            affine, drawn = store.affine(place), np.rint(255 * region[number, None]).astype(np.uint8)
            image = _encoded(images[number], affine, slope[number], low[number], name, source)
            (folder / "images" / name).write_bytes(image)
            (folder / "regions" / name).write_bytes(_encoded(drawn, affine, 1.0, 0.0, name, source))
        tables.write(folder / "insert.csv", table)
        captions = [f"read {cell}" for cell in table[PREDICTED + info.label]]
        before_captions = [f"read {cell}" for cell in table[BEFORE + PREDICTED + info.label]]
        title = f"{info.dataset}: lesions drawn into {source} images"
        figures.sheet(
            folder / "sheet.png",
            title,
            (before, before_captions),
            (images, captions),
            source,
            ABOUT.format(source=source),
        )
        text = PAGE.format(
            dataset=info.dataset,
            source=source,
            patient=PATIENT[info.simulated],
            count=len(rows),
            split=settings.split,
            model=made.weights_sha256,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    log.info("%d lesions in %s images, change inside %.3g", len(rows), settings.split, np.mean(inside))


def _rescale(store: Store, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) twice: an intensity is the value in an image's file * the first + the second.

    Colour has 8 bits, since programs that read more of it are rare.
    """
    low, high = (store.samples[end].to_numpy()[places].astype(float) for end in ("low", "high"))
    return (high - low) / (255 if store.info.channels == 3 else 65535), low


def _encoded(image: np.ndarray, affine: np.ndarray | None, slope: float, low: float, name: str, source: str) -> bytes:
    """The file of a uint16 image (C, *spatial) on the store's scale, or of a uint8 region (1, *spatial).

    Args:
        affine: the image's own; slope, low: of its intensities.
    """
    _, kind = FILES[image.ndim - 1]
    assert kind.encode is not None
    values = np.rint(image / 257).astype(np.uint8) if len(image) == 3 else image
    shown = (low, low + slope * float(np.iinfo(values.dtype).max))
    about = {"Title": name, "Disclaimer": ABOUT.format(source=source), "Software": f"medsynth {__version__}"}
    return kind.encode(Image(values, affine, shown), slope, low, about)
