"""A conda channel in a folder: one small package for each line of requirements.lock, which says name and version."""

import io
import json
import sys
import sysconfig
import tarfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[3]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # where they are not PyPI's
PYTHON = "3.12"  # what workflow/envs asks for; the one inside is that of the tests, whichever it is
NOTE_COMMAND = "import sys; print(*sys.orig_argv[1:4], file=open(sys.prefix + '/commands', 'a'))"


def locked_versions() -> dict[str, str]:
    """Name at conda → version, for every line of the lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {CONDA_NAMES.get(name, name): version for name, version in (line.split("==") for line in lines)}


def build(folder: Path) -> None:
    """Write the channel.

    Its libraries hold no files: its Python finds those of the tests, but no medsynth, and notes each of its commands.
    """
    packages = locked_versions() | {"pip": "26.0", "python": PYTHON}
    records = dict(
        _package(folder / "noarch", name, version, _python() if name == "python" else {})
        for name, version in packages.items()
    )
    (folder / "noarch/repodata.json").write_text(json.dumps({"info": {"subdir": "noarch"}, "packages": records}))


def _python() -> dict[str, str | Path]:
    """A virtual environment's files; a folder named in a .pth gives its modules, but not what is installed editable."""
    interpreter = Path(sys.executable).resolve()
    libraries = [*{sysconfig.get_path(kind) for kind in ("purelib", "platlib")}, NOTE_COMMAND]
    return {
        "bin/python": interpreter,
        "pyvenv.cfg": f"home = {interpreter.parent}\n",
        "lib/python{}.{}/site-packages/libraries.pth".format(*sys.version_info): "\n".join(libraries) + "\n",
    }


def _package(folder: Path, name: str, version: str, files: dict[str, str | Path]) -> tuple[str, dict]:
    """Write one package, a str being a file's text and a Path a link's target; its file name and its record."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": []}
    index |= {"subdir": "noarch", "noarch": "generic"}
    kinds = {path: "softlink" if isinstance(content, Path) else "hardlink" for path, content in files.items()}
    paths = {"paths_version": 1, "paths": [{"_path": path, "path_type": kind} for path, kind in kinds.items()]}
    metadata = {"info/index.json": json.dumps(index), "info/paths.json": json.dumps(paths)}
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(archive, "w:bz2") as tar:
        for path, content in (metadata | files).items():
            entry = tarfile.TarInfo(path)
            if isinstance(content, Path):
                entry.type, entry.linkname = tarfile.SYMTYPE, str(content)
                tar.addfile(entry)
            else:
                entry.size = len(content.encode())
                tar.addfile(entry, io.BytesIO(content.encode()))
    written = archive.read_bytes()
    return archive.name, index | {"sha256": sha256(written).hexdigest(), "size": len(written)}
