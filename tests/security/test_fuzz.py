"""Any bytes give what they hold or one line: never another error, a hang, or a word on the terminal.

MEDSYNTH_FUZZ=5000 looks for new examples, that many a test; without it they are the same in every run.
"""

import io
import os
import struct
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless

from medsynth import config
from medsynth.errors import InputError
from medsynth.images.formats.files import decode
from medsynth.images.image import Image
from medsynth.prepare.sources import Prepared, open_table
from medsynth.prepare.table import Rejection, read_samples
from tests.images.formats.test_dicom import STORED, dataset, encode, sequence
from tests.prepare.test_prepare import settings as prepare_settings
from tests.prepare.test_table import HEADER, SCHEMA

ROOT = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("MEDSYNTH_FUZZ", 200))
fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", struct.pack("<d", np.nan), b"UN", b"SQ", b"1e999"]),
)


def saved(kind: str, mode: str, **options) -> bytes:
    file = io.BytesIO()
    picture = PIL.Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).convert(mode)
    picture.save(file, kind, **options)
    return file.getvalue()


def tiff(array: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, description="Anna", **options)
    return file.getvalue()


def run_length_coded() -> bytes:
    data = dataset()
    data.compress(RLELossless)
    return encode(data)


def functional_groups() -> list:
    rescale = sequence(RescaleSlope=2, RescaleIntercept=-1024, RescaleType="HU")
    return sequence(PixelValueTransformationSequence=rescale, PixelMeasuresSequence=sequence(PixelSpacing=[0.5, 0.25]))


GREY = np.arange(64, dtype=np.uint16).reshape(8, 8)
FILES = {
    "a.png": [saved("PNG", mode) for mode in ("L", "RGB", "RGBA", "P", "1", "LA", "I;16")],
    "a.jpg": [saved("JPEG", "L"), saved("JPEG", "RGB", progressive=True), saved("JPEG", "CMYK")],
    "a.tif": [
        tiff(GREY),
        tiff(GREY, compression="lzw"),
        tiff(GREY, compression="zlib", predictor=True),
        tiff(np.tile(GREY, (4, 4)), tile=(16, 16), compression="packbits"),
        tiff(GREY / np.float32(7), photometric="miniswhite"),
        tiff(GREY > 9),
        saved("TIFF", "RGB", compression="jpeg"),
    ],
    "a.dcm": [
        encode(dataset()),
        encode(dataset(RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=[40, 3], WindowWidth=[400, 9])),
        encode(dataset(photometric="MONOCHROME1", PixelSpacing=[0.5, 0.2], SliceThickness=3)),
        encode(dataset(np.arange(36, dtype=np.uint8).reshape(3, 4, 3), "RGB")),
        encode(dataset(STORED.astype(np.int16))),
        encode(dataset(STORED, PixelPaddingValue=0, PixelPaddingRangeLimit=300, BurnedInAnnotation="YES")),
        encode(dataset(SharedFunctionalGroupsSequence=functional_groups())),
        run_length_coded(),
    ],
}


@st.composite
def damaged(draw, whole: list[bytes]) -> bytes:
    """A sound file that is cut, overwritten, or has bytes put in or taken out, mostly in its header."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(PIECES)
        match draw(st.sampled_from(["over", "over", "over", "in", "out", "cut"])):
            case "over":
                data[at : at + len(piece)] = piece
            case "in":
                data[at:at] = piece
            case "out":
                del data[at : at + len(piece)]
            case "cut":
                del data[at:]
    return bytes(data)


def one_line(error: object) -> bool:
    text = str(error)
    return text != "" and text.isprintable() and "object at 0x" not in text and len(text) < 2000


@pytest.mark.parametrize("name", [*FILES, "none"])
@fuzzed
@given(data=st.data())
def test_an_image_or_one_line(name, capfd, data):
    whole = [content for contents in FILES.values() for content in contents] if name == "none" else FILES[name]
    content = data.draw(damaged(whole) | st.binary(max_size=300))
    try:
        image = decode(content, name)
        assert isinstance(image, Image) and image.voxels.ndim in (3, 4) and image.voxels.dtype.kind in "uif"
    except InputError as error:
        assert one_line(error) and "ROENTGEN" not in str(error) and "Anna" not in str(error)
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module", params=[("a.dcm", "ct"), ("a.png", "chest_xray"), ("a.tif", "mri")])
def row(request, tmp_path_factory):
    """A function that prepares a row of a table, its file, and what may stand in it."""
    name, modality = request.param
    folder = tmp_path_factory.mktemp("row")
    rows = [f"{name},s{n},{('normal', 'nodule')[n % 2]}" for n in range(6)]
    (folder / "samples.csv").write_text("\n".join(["image,subject_id,pathology", *rows]))
    intake = open_table(chosen := prepare_settings(folder, modality=modality), chosen.source, [])
    return lambda: intake.prepare_one(intake.samples[0]), folder / name, FILES[name]


@fuzzed
@given(data=st.data())
def test_a_row_is_prepared_or_quarantined(row, data):
    prepare_one, path, whole = row
    path.write_bytes(data.draw(damaged(whole)))
    result = prepare_one()
    if isinstance(result, Rejection):
        assert one_line(result.reason) and "ROENTGEN" not in result.reason
    else:
        assert isinstance(result, Prepared) and result.pixels.shape == (1, 16, 16)


PARTS = st.sampled_from([*f"{HEADER}\n\r\"';\t", "\0", "n/a", "é", "=", "a.png,s1,normal,5\n"])
TABLE = st.lists(PARTS, max_size=60).map("".join)


@fuzzed
@given(st.binary(max_size=200) | TABLE.map(str.encode) | TABLE.map(lambda text: f"{HEADER}\n{text}".encode()))
def test_a_table_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(content)
    try:
        table = read_samples(path, SCHEMA)
        assert len(table.samples) + len(table.rejected) == table.rows > 0
    except InputError as error:
        assert one_line(error)


def test_a_cell_without_end_is_one_line(tmp_path):
    (tmp_path / "samples.csv").write_text(f"{HEADER}\n{'a' * 200_000},s,normal,1\n")
    with pytest.raises(InputError, match="not a table"):
        read_samples(tmp_path / "samples.csv", SCHEMA)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
TINY = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())


@st.composite
def spoilt(draw) -> bytes:
    """The tiny configuration with one value, at any depth, replaced or added."""
    copy = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    section = copy
    while isinstance(inner := section[key := draw(st.sampled_from(sorted(section)))], dict) and draw(st.booleans()):
        section = inner
    section[draw(st.just(key) | st.text(max_size=8))] = draw(VALUES)
    return yaml.safe_dump(copy).encode()


@fuzzed
@given(
    st.binary(max_size=100)
    | spoilt()
    | VALUES.map(lambda values: yaml.safe_dump(values).encode())
    | damaged([(ROOT / "config/tiny.yaml").read_bytes()])
)
def test_a_configuration_or_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(config.load(path), config.Config)
    except InputError as error:
        assert "\n" not in str(error) and str(error).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "a: 2001-99-99",
        "seed: " + "9" * 5000,
        "? [a]\n: 1",
        "a: &a [*a]\ndatasets: *a",
        "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]),
        "seed: &b [1]\nmodels: {m: {family: *b}}",
        "!!python/object/apply:os.system [true]",
    ],
)
def test_a_hostile_configuration_is_one_short_line(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        config.load(tmp_path / "c.yaml")
    assert one_line(caught.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"seed": 1e999}', "NaN", ""])
def test_hostile_settings_are_one_line(text):
    with pytest.raises(InputError) as caught:
        config.parse_json(config.TrainSettings, text, "--settings")
    assert one_line(caught.value)
