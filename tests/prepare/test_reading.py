"""What a source says of its files, and what is found of them: units, bits, colour, padding, text in the pixels."""

import csv
import logging

import numpy as np
import PIL.Image
import pytest

from medsynth.artifacts.store import Store
from medsynth.errors import InputError
from medsynth.images.intensity import Intensity
from medsynth.prepare.prepare import prepare
from medsynth.release.intensity import grey_scale
from tests.images.formats.test_dicom import dataset, encode
from tests.prepare.test_prepare import EACH, Collection, pixels, settings

COUNT = 2 * EACH


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path)


def prepared(collection, modality="chest_xray", size=(40, 40), max_bad_fraction=0.5, **source) -> Store:
    collection.write()
    source = {"kind": "table", "table": "samples.csv", "max_bad_fraction": max_bad_fraction, **source}
    out = collection.folder / "out" / "demo"
    prepare(settings(collection.folder, source=source, modality=modality, size=size), out)
    return Store.open(out, verify=True)


def reasons(path) -> list[str]:
    with path.open() as file:
        return [row["reason"] for row in csv.DictReader(file)]


def shown(store: Store, row: int) -> np.ndarray:
    """The stored image as its file had it."""
    cells = store.samples.iloc[row]
    return Intensity(float(cells["low"]), float(cells["high"])).inverse(store.intensities([row])[0, 0])


# --- units ------------------------------------------------------------------------------------------------------


def test_ct_slices_of_8_bits_are_refused_row_by_row(collection):
    with pytest.raises(InputError, match=r"20 of 20 rows .* no unit, expected HU; source\.intensity: windowed takes"):
        prepared(collection, "ct")
    found = reasons(collection.folder / "out" / "demo.quarantine.csv")
    assert len(found) == COUNT and set(found) == {
        "grey values of 8 bits have no unit, expected HU; source.intensity: windowed takes them as windowed already"
    }


def test_windowed_ct_slices_are_what_they_show_and_are_not_called_hounsfield_units(collection):
    store = prepared(collection, "ct", intensity="windowed")
    for row, name in enumerate(store.samples["image"]):
        assert np.abs(shown(store, row)[:, 4:36] - pixels(int(name[:2]))).max() < 0.01
    assert store.info.windowed and store.info.unit == "grey levels as windowed by the source, not in HU"
    grey = grey_scale(store)
    assert (grey.dtype, grey.slope, grey.intercept, grey.high) == (np.uint8, 1.0, 0.0, 255.0)
    assert (grey.values(store.images[0]) == np.rint(shown(store, 0))).all()


def test_a_windowed_store_is_another_than_one_in_hounsfield_units(collection):
    for row, name in enumerate(collection.rows):
        stored = (pixels(row).astype(np.int16) - 100).astype(np.int16)
        (collection.folder / f"{row}.dcm").write_bytes(encode(dataset(stored, WindowCenter=40, WindowWidth=400)))
        name["image"] = f"{row}.dcm"
    stated, windowed = (prepared(collection, "ct", intensity=of) for of in ("stated", "windowed"))
    assert set(stated.samples["low"]) == {"-1000.0"} and not stated.info.windowed
    assert set(windowed.samples["low"]) == {"-160.0"} and set(windowed.samples["high"]) == {"239.0"}
    assert stated.info.digest != windowed.info.digest


# --- bits -------------------------------------------------------------------------------------------------------


def deep(collection, largest) -> None:
    """Make every image one of 16 bits, with values up to its own largest."""
    for row, (cells, most) in enumerate(zip(collection.rows, largest, strict=True)):
        values = np.random.default_rng(row).integers(0, most + 1, (40, 32), np.uint16)
        values[0, 0] = most
        PIL.Image.fromarray(values).save(collection.folder / cells["image"])


def warned(caplog) -> list[str]:
    """All warnings but that of classes as rare as they are here."""
    return [message for message in caplog.messages if "misread" not in message and "fewer than 20" not in message]


def test_12_bits_in_16_are_found_and_are_one_scale_for_all(collection, caplog):
    deep(collection, [4095, 900, *[3000] * (COUNT - 2)])
    with caplog.at_level(logging.WARNING):
        store = prepared(collection)
    assert warned(caplog) == [
        "demo: its 16-bit images have values up to 4,095 and are read again as of 12 bits; "
        "source.bits_stored: 12 spares the second reading"
    ]
    assert store.info.bits_stored == 12 and set(store.samples["high"]) == {"4095.0"} and len(store) == COUNT
    for row, name in enumerate(store.samples["image"]):
        with PIL.Image.open(collection.folder / name) as file:
            assert np.abs(shown(store, row)[:, 4:36] - np.asarray(file)).max() < 0.1
    caplog.clear()
    assert prepared(collection, bits_stored=12).info == store.info
    assert not warned(caplog)


def test_16_bits_and_8_are_read_once_and_say_nothing(collection, caplog):
    assert prepared(collection).info.bits_stored is None
    deep(collection, [*[40000] * (COUNT - 1), 65535])
    store = prepared(collection)
    assert store.info.bits_stored == 16 and set(store.samples["high"]) == {"65535.0"} and not warned(caplog)


def test_one_bright_image_among_dark_ones_is_warned_of_and_can_be_left_out(collection, caplog):
    deep(collection, [65535, *[4000] * (COUNT - 1)])
    assert prepared(collection).info.bits_stored == 16
    assert warned(caplog) == [
        "demo: one of its 16-bit images has values up to 65,535, half of them use 12 bits at most and are stored dark: "
        "source.bits_stored: 12 puts the brighter ones into quarantine"
    ]
    assert len(prepared(collection, bits_stored=12)) == COUNT - 1
    assert reasons(collection.folder / "out/demo/quarantine.csv") == [
        "values up to 65,535, source.bits_stored: 12 allows 4,095"
    ]


def test_rows_that_cannot_be_used_are_counted_once_where_images_are_read_twice(collection):
    deep(collection, [4095] * COUNT)
    (collection.folder / "03.png").write_bytes(b"no image")
    collection.rows[5]["pathology"] = "unknown"
    store = prepared(collection)
    assert (store.info.rows_in, store.info.rows_out, store.info.rows_quarantined) == (COUNT, COUNT - 2, 2)


def test_an_image_whose_own_percentiles_are_taken_needs_no_bits(collection, caplog):
    deep(collection, [4095] * COUNT)
    assert prepared(collection, "mri").info.bits_stored is None and not warned(caplog)


# --- colour -----------------------------------------------------------------------------------------------------


def test_faint_tints_are_taken_and_counted(collection, caplog):
    for cells in collection.rows[::4]:
        grey = np.asarray(PIL.Image.open(collection.folder / cells["image"])).clip(0, 230)
        PIL.Image.fromarray(np.stack([grey, grey, grey + 20], -1)).save(collection.folder / cells["image"])
    with caplog.at_level(logging.INFO, "medsynth"):
        store = prepared(collection)
    assert len(store) == COUNT and store.info.decoloured == 5
    assert "demo: the tint or colour of 5 images was left out" in caplog.messages
    row = store.samples["image"].tolist().index("00.png")
    expected = pixels(0).clip(0, 230) + 0.114 * 20
    assert np.abs(shown(store, row)[:, 4:36] - expected).max() < 0.01


def test_strong_colour_is_quarantined_unless_luma_is_asked_for(collection):
    PIL.Image.fromarray(pixels(5, (40, 32, 3))).save(collection.folder / "00.png")
    assert prepared(collection).info.decoloured == 0
    (reason,) = reasons(collection.folder / "out/demo/quarantine.csv")
    assert reason.endswith("the modality has none; source.colour: luma takes its brightness")
    store = prepared(collection, colour="luma")
    assert len(store) == COUNT and store.info.decoloured == 1


# --- DICOM ------------------------------------------------------------------------------------------------------


def test_padding_is_black_and_text_in_the_pixels_is_quarantined(collection):
    for row, cells in enumerate(collection.rows):
        stored = pixels(row).astype(np.int16)
        stored[:, :3] = 3000  # as bright as the window goes
        header = {"PixelPaddingValue": 3000, "Modality": "MR", "BurnedInAnnotation": "YES" if row < 2 else "NO"}
        (collection.folder / f"{row}.dcm").write_bytes(encode(dataset(stored, **header)))
        cells["image"] = f"{row}.dcm"
    store = prepared(collection, "mri")
    assert len(store) == COUNT - 2
    assert (store.images[:, 0, :, 4:7] == 0).all() and store.images[:, 0, :, 7:36].max() == 65535
    assert (store.samples["high"].astype(float) < 256).all()
    reason = (
        "DICOM BurnedInAnnotation is YES: its pixels may name a person; source.burned_in_annotation: accept takes it"
    )
    assert reasons(collection.folder / "out/demo/quarantine.csv") == [reason] * 2
    assert len(prepared(collection, "mri", burned_in_annotation="accept")) == COUNT
