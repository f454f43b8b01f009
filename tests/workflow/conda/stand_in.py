"""What Snakemake asks of `conda`, and nothing else: python stand_in.py BASE CHANNEL <arguments of conda>.

The environment file is solved and installed by rattler, not by conda. Its one channel, conda-forge, is the folder
CHANNEL. The `pip:` section goes to the environment's pip as conda would hand it over, but offline and as a dry run:
what is not there already at that version is refused.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import yaml
from rattler import Gateway, Subdir, install, solve
from rattler.exceptions import SolverError


async def create(base: Path, channel: Path, environment: dict, prefix: Path) -> None:
    channels = set(environment["channels"])
    if channels != {"conda-forge", "nodefaults"}:  # without nodefaults, conda would ask the channel of its maker too
        sys.exit(f"conda: only conda-forge with nodefaults is here, not {', '.join(sorted(channels))}")
    libraries = [library for library in environment["dependencies"] if isinstance(library, str)]
    [from_pip] = [section["pip"] for section in environment["dependencies"] if isinstance(section, dict)]
    gateway = Gateway(cache_dir=base / "repodata")
    try:
        records = await solve([channel.as_uri()], libraries, gateway, platforms=["noarch"])
    except SolverError as error:
        sys.exit(f"conda: {error}")
    await install(records, prefix, cache_dir=base / "pkgs", show_progress=False)
    pip = [prefix / "bin/python", "-m", "pip", "install", "--isolated", "--no-index", "--no-deps", "--dry-run"]
    if status := subprocess.run([*pip, *from_pip]).returncode:
        sys.exit(status)


def main(base: Path, channel: Path, arguments: list[str]) -> None:
    match arguments:
        case ["--version"]:
            print("conda 24.7.1")  # the oldest that Snakemake takes
        case ["info", "--json"]:
            print(json.dumps({"conda_prefix": str(base), "platform": str(Subdir.current())}))
        case ["config", "--get", "channel_priority", "--json"]:
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ["env", "create", "--quiet", "--no-default-packages", "--file", file, "--prefix", prefix]:
            asyncio.run(create(base, channel, yaml.safe_load(Path(file).read_text()), Path(prefix)))
        case ["clean", "-y", "--tarballs"]:
            pass  # rattler keeps unpacked packages alone
        case _:
            sys.exit(f"conda: this stand-in does not know {arguments}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
