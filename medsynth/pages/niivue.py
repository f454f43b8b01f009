"""NiiVue, the viewer of volumes: one version of its bundle, which `make viewer` installs beside Python.

No code of it lies in the repository. Where it is not installed, pages of volumes say so and are made without it.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
from pathlib import Path

from medsynth.disk.files import write_text
from medsynth.errors import InputError

VERSION = "0.69.0"
MEMBER = "package/dist/niivue.umd.js"  # of the npm package @niivue/niivue
SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"  # of that file
NOTICE = Path(__file__).with_suffix(".txt")


def place() -> Path:
    """Where the bundle of this Python environment is installed."""
    return Path(sys.prefix) / "share" / "medsynth" / f"niivue-{VERSION}.umd.js"


def install(package: Path) -> Path:
    """Install the bundle from the package that `npm pack @niivue/niivue` wrote, and say where.

    Raises:
        InputError: it is no such package, or of another version.
    """
    try:
        with tarfile.open(package) as archive:
            member = archive.extractfile(MEMBER)
            content = member.read() if member else b""
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{package}: cannot be read ({error}), expected the npm package @niivue/niivue") from None
    _check(content, f"{package}: {MEMBER}")
    write_text(place(), content.decode())
    return place()


def installed() -> str | None:
    """The bundle as JavaScript, its licence above it; None where it is not installed.

    Raises:
        InputError: it is another one, or damaged.
    """
    path = place()
    if not path.is_file():
        return None
    content = path.read_bytes()
    _check(content, f"{path}, remove it and run `make viewer`")
    return f"/*!\n{NOTICE.read_text(encoding='utf-8')}*/\n{content.decode()}"


def _check(content: bytes, what: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise InputError(f"{what}: sha256 is {digest[:12]}, expected {SHA256[:12]} of NiiVue {VERSION}")
