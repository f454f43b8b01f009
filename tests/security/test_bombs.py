"""Small files that state or unfold to something huge: one line, within 256 MiB and in little time."""

import io
import json
import resource
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from tests.images.formats.test_dicom import STORED, dataset, encode
from tests.images.formats.test_raster import huge_png

pytestmark = pytest.mark.xdist_group("bombs")  # the fixture below is made once

SMALL = PIL.Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
MEMORY = 256 * 2**20  # beyond what the imports take
GIGABYTE = 2**30


def deflated_zeros(size: int, wbits: int = 15) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, wbits)
    piece = bytes(2**24)
    return b"".join([stream.compress(piece) for _ in range(size // len(piece))]) + stream.flush()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """The small picture with these chunks before its pixels."""
    file = io.BytesIO()
    SMALL.save(file, "PNG")
    added = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return file.getvalue()[:33] + added + file.getvalue()[33:]


def jpeg(side: int | None = None) -> bytes:
    """The small picture, with another size in its header."""
    file = io.BytesIO()
    SMALL.save(file, "JPEG")
    data = file.getvalue()
    at = data.index(b"\xff\xc0") + 5
    return data if side is None else data[:at] + struct.pack(">HH", side, side) + data[at + 4 :]


def tiff(**options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(SMALL), **options)
    return file.getvalue()


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """A TIFF whose tag has another value."""
    count, at = struct.unpack_from("<H", data, 8)[0], 10
    for entry in range(at, at + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            return data[: entry + 2] + struct.pack("<HII", 4, 1, value) + data[entry + 12 :]
    raise KeyError(tag)


def with_strip(data: bytes, strip: bytes, compression: int) -> bytes:
    """A TIFF whose only strip is another one."""
    data = with_tag(with_tag(with_tag(data, 259, compression), 273, len(data)), 279, len(strip))
    return data + strip


def looped_tiff() -> bytes:
    """A TIFF whose page is followed by itself."""
    data = tiff()
    at = 10 + 12 * struct.unpack_from("<H", data, 8)[0]
    return data[:at] + struct.pack("<I", 8) + data[at + 4 :]


def dicom(syntax=None, pixels: bytes | None = None, **changes) -> bytes:
    data = dataset(STORED.astype(np.uint8), **changes)
    if pixels is not None:
        data.PixelData = encapsulate([pixels])
        data.file_meta.TransferSyntaxUID = syntax
        data.Rows = data.Columns = 16
    return encode(data)


def deflated_dicom() -> bytes:
    data = dataset()
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole = encode(data)
    length = 144 + struct.unpack_from("<I", whole, 140)[0]
    return whole[:length] + deflated_zeros(GIGABYTE, -15)


BOMBS = {
    "header.png": (lambda: huge_png(40_000), "67,108,864"),
    "narrow.png": (lambda: huge_png(2**31 - 1), "67,108,864"),
    "text.png": (lambda: png((b"zTXt", b"a\0\0" + deflated_zeros(GIGABYTE))), "cannot be decoded"),
    "profile.png": (lambda: png((b"iCCP", b"a\0\0" + deflated_zeros(GIGABYTE))), "cannot be decoded"),
    "header.jpg": (lambda: jpeg(65_500), "67,108,864"),
    "header.tif": (lambda: with_tag(with_tag(tiff(), 256, 2**32 - 1), 257, 2**32 - 1), "a side of 4,294,967,295"),
    "strip.tif": (lambda: with_strip(tiff(compression="zlib"), deflated_zeros(GIGABYTE), 8), "cannot be decoded"),
    "jpeg.tif": (lambda: with_strip(tiff(compression="zlib"), jpeg(65_500), 7), "DecompressionBombError"),
    "tile.tif": (lambda: with_tag(with_tag(tiff(tile=(16, 16)), 322, 2**30), 323, 2**30), "a side of 1,073,741,824"),
    "webp.tif": (lambda: with_strip(tiff(compression="zlib"), b"RIFF", 50001), "compression WEBP, expected one of"),
    "loop.tif": (looped_tiff, ""),
    "header.dcm": (lambda: dicom(Rows=65_535, Columns=65_535), "65,535 x 65,535"),
    "deflated.dcm": (deflated_dicom, "deflated DICOM of more than 536,870,912 bytes"),
    "jpeg.dcm": (lambda: dicom(JPEGBaseline8Bit, jpeg(65_500)), "pixels cannot be decoded"),
    "jpeg_below_the_limit_of_pillow.dcm": (lambda: dicom(JPEGBaseline8Bit, jpeg(13_000)), "pixels cannot be decoded"),
    "spacing.dcm": (lambda: dicom(PixelSpacing=[1e-9, 1]), "pixel spacing 1e-09 x 1 mm"),
    "spacing_zero.dcm": (lambda: dicom(PixelSpacing=[0, 0]), "pixel spacing 0 x 0 mm"),
    "window.dcm": (lambda: dicom(Modality="MR", RescaleSlope=1e300, RescaleIntercept=0), "not finite"),
}


def decode_with_little_memory(folder: Path) -> dict[str, str]:
    """What is wrong with each file of a folder, as the step `prepare` finds it."""
    from medsynth.errors import InputError
    from medsynth.images.formats import files as formats
    from medsynth.images.geometry import find_geometry

    for name in ("a.png", "a.jpg", "a.tif", "a.dcm"):  # whatever is imported at the first use
        formats.read(folder / "sound" / name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {}
    for path in sorted(folder.glob("*.*")):
        try:
            image = formats.read(path)
            find_geometry(image.spatial_shape, (64, 64), "pad", image.spacing_mm)
            found[path.name] = ""
        except InputError as error:
            found[path.name] = str(error)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MEMORY, f"{grown:,} bytes were taken"
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, str]:
    import subprocess

    folder = tmp_path_factory.mktemp("bombs")
    (folder / "sound").mkdir()
    sound = {"a.png": png(), "a.jpg": jpeg(), "a.tif": tiff(compression="zlib"), "a.dcm": dicom()}
    for name, data in sound.items():
        (folder / "sound" / name).write_bytes(data)
    for name, (make, _) in BOMBS.items():
        (folder / name).write_bytes(make())
    with (folder / "endless.png").open("wb") as file:
        file.truncate(2**40)
    program = f"import json; from tests.security.test_bombs import *; print(json.dumps(decode_with_little_memory(Path({str(folder)!r}))))"  # noqa: E501
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_one_line(found, name):
    assert BOMBS[name][1] in found[name] and "MemoryError" not in found[name] and "\n" not in found[name]


def test_an_endless_file_is_not_read(found):
    assert "endless.png: 1,099,511,627,776 bytes, expected at most 536,870,912" in found["endless.png"]
