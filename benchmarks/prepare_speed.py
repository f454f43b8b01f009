#!/usr/bin/env python3
"""Images per second from JPEG, PNG and DICOM files to a prepared store, beside MONAI's transforms and bare decoding.

    python benchmarks/prepare_speed.py --out DIR

medsynth also checks every row, digests every file, finds duplicates, splits by subject and writes the store; MONAI's
transforms end in arrays that are dropped; bare decoding ends in pixels. Starting worker processes counts for all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import pydicom
from command import positives, run_or_exit, write_table
from PIL import Image
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from medsynth import registry
from medsynth.config import PrepareSettings, Split, TableSource
from medsynth.errors import InputError
from medsynth.prepare.prepare import prepare

COLUMNS = ("format", "source_size", "contender", "processes", "images", "seconds", "images_per_s")
STORED_SIZE = 64
PATIENTS = 4  # rendered; every file is one of them with noise of its own
BRIGHTEST = {"jpeg": 255, "png": 255, "dicom": 4095}
SUFFIX = {"jpeg": "jpg", "png": "png", "dicom": "dcm"}


def write_images(folder: Path, kind: str, size: int, count: int) -> list[Path]:
    """Phantom chest X-rays as files, and the table that names them."""
    rng = np.random.default_rng(0)
    patients = [registry.PHANTOMS["chest_xray"].load().render(seed, (size, size)).voxels[0] for seed in range(PATIENTS)]
    paths = []
    for number in range(count):
        noisy = patients[number % PATIENTS] + rng.normal(0, 0.01, (size, size)).astype(np.float32)
        pixels = np.rint(noisy.clip(0, 1) * BRIGHTEST[kind]).astype(np.uint16 if kind == "dicom" else np.uint8)
        paths.append(folder / f"{number:05d}.{SUFFIX[kind]}")
        if kind == "dicom":
            write_dicom(paths[-1], pixels)
        else:
            Image.fromarray(pixels).save(paths[-1])
    write_samples(paths)
    return paths


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    """12 bits in 16, not compressed, as many detectors export them."""
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = ComputedRadiographyImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.Modality, header.PhotometricInterpretation = "CR", "MONOCHROME2"
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.PixelData = pixels.tobytes()
    header.save_as(path, enforce_file_format=True)


def by_medsynth(paths: list[Path], kind: str, processes: int) -> None:
    prepare_all(paths, "chest_xray", (STORED_SIZE, STORED_SIZE), processes)


def prepare_all(paths: list[Path], modality: str, size: tuple[int, ...], processes: int) -> None:
    """Run `prepare` on files beside their samples.csv, none of which may be refused."""
    folder = paths[0].parent
    settings = PrepareSettings(
        seed=0,
        dataset="benchmark",
        data_root=str(folder),
        source=TableSource(kind="table", table="samples.csv"),
        modality=modality,
        size=size,
        fit="pad",
        conditions={"pathology": {"kind": "categorical", "values": ("a", "b")}},
        label="pathology",
        split=Split(),
    )
    info = prepare(settings, folder / "store", processes)
    assert info.rows_out == len(paths)


def write_samples(paths: list[Path]) -> None:
    """The table that names files, of two classes in turn, beside them."""
    names = [path.name for path in paths]
    labels = [("a", "b")[number % 2] for number in range(len(paths))]
    table = pd.DataFrame({"image": names, "subject_id": names, "pathology": labels})
    table.to_csv(paths[0].parent / "samples.csv", index=False)


def by_monai(paths: list[Path], kind: str, processes: int) -> None:
    from monai.data import DataLoader, Dataset
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, ScaleIntensityRange

    transforms = Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            ScaleIntensityRange(0, BRIGHTEST[kind], -1, 1, clip=True),
            Resize((STORED_SIZE, STORED_SIZE), mode="area"),
        ]
    )
    workers = 0 if processes == 1 else processes  # as `prepare`, one process works by itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of decoders for GPUs, and of DICOM without a position
        loader = DataLoader(Dataset([str(path) for path in paths], transforms), batch_size=16, num_workers=workers)
        assert sum(len(batch) for batch in loader) == len(paths)


def by_decoding(paths: list[Path], kind: str, processes: int) -> None:
    decode = DECODERS[kind]
    if processes == 1:
        assert sum(map(decode, paths)) > 0
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        assert sum(pool.map(decode, paths, chunksize=16)) > 0


# Each returns the number of pixels, so that what is compared is decoding and not the way back between processes.
def _decode_jpeg(path: Path) -> int:
    return imagecodecs.jpeg8_decode(path.read_bytes()).size


def _decode_png(path: Path) -> int:
    return imagecodecs.png_decode(path.read_bytes()).size


def _decode_dicom(path: Path) -> int:
    return pydicom.dcmread(path).pixel_array.size


DECODERS: dict[str, Callable[[Path], int]] = {"jpeg": _decode_jpeg, "png": _decode_png, "dicom": _decode_dicom}
CONTENDERS: dict[str, Callable[[list[Path], str, int], None]] = {
    "medsynth": by_medsynth,
    "monai": by_monai,
    "decoding": by_decoding,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--formats", default=",".join(DECODERS))
    parser.add_argument("--sizes", default="256,1024", help="pixels a side of the files, by commas")
    parser.add_argument("--processes", default="1,2", help="worker processes, by commas")
    parser.add_argument("--images", type=int, default=400, help="files of each kind and size")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    kinds = args.formats.split(",")
    if unknown := [kind for kind in kinds if kind not in DECODERS]:
        raise InputError(f"--formats: unknown {unknown[0]!r}, expected some of {', '.join(DECODERS)}")
    sizes, processes = (positives(getattr(args, key), key, int) for key in ("sizes", "processes"))
    if args.images < 12 or args.repeats < 1:
        raise InputError("--images: expected 12 or more, --repeats: 1 or more")

    rows: list[dict[str, Any]] = []
    for kind in kinds:
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="prepare_speed_") as name:
                paths = write_images(Path(name), kind, size, args.images)
                for warm_up in (by_monai, by_decoding):  # its imports are not what is measured
                    warm_up(paths[:12], kind, 1)
                for count in processes:
                    rows += measure(paths, kind, size, count, args.repeats)
            table = write_table(args.out / "prepare_speed.csv", COLUMNS, rows)
    import pictures  # not above: medsynth's workers load this file, and would wait for a plotting library

    table["contender"] += " x " + table["processes"].astype(str)
    pictures.bars(args.out / "prepare_speed.png", table, "images_per_s", "format", "contender", "source_size")


def measure(paths: list[Path], kind: str, size: int, processes: int, repeats: int) -> list[dict[str, Any]]:
    """One row a contender; the repeats go round, so that a slow minute of the machine hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(repeats):
        for name, contender in CONTENDERS.items():
            started = time.perf_counter()
            contender(paths, kind, processes)
            seconds[name].append(time.perf_counter() - started)
    rows = []
    for name, measured in seconds.items():
        middle = statistics.median(measured)
        row = dict(zip(COLUMNS, (kind, size, name, processes, len(paths), middle, len(paths) / middle), strict=True))
        print("{contender}: {format} {source_size}, {processes} processes, {images_per_s:.4g} images/s".format(**row),
              file=sys.stderr)  # fmt: skip
        rows.append(row)
    return rows


if __name__ == "__main__":
    run_or_exit(main)
