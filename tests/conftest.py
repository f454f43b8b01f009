"""What every test shares: where real images may lie, and few threads, since tests run side by side."""

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from pydantic import BaseModel

from medsynth.artifacts.store import Store, StoreInfo

# The same examples in every run, and no verdict by the clock; MEDSYNTH_FUZZ=5000 looks for new ones.
settings.register_profile(
    "stable",
    derandomize="MEDSYNTH_FUZZ" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("stable")

os.environ.setdefault("OMP_NUM_THREADS", "1")
# A process keeps the GPU that it has claimed: the steps that a test starts would wait for that of the tests themselves.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

SHARED_DATA = Path(os.environ.get("MEDSYNTH_TEST_DATA", Path(__file__).parents[1] / "../shared/data")).resolve()


# What starts programs, trains a network, or runs every family or every fault: all but these is `make quick`.
SLOW = {
    *("benchmarks", "contracts", "evaluate", "faults", "judges", "machine", "models"),
    *("insert", "membership", "reference", "sample", "security", "slurm", "track", "train", "tune", "vary", "workflow"),
}


def is_slow(path: Path) -> bool:
    return not SLOW.isdisjoint(path.relative_to(Path(__file__).parent).parts[:1])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`make quick` does not import what it leaves out."""
    return True if config.option.markexpr == "not slow" and is_slow(collection_path) else None


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter) -> None:
    """How many faults tests/faults injected, by kind, and how many ended as they must."""
    reports = [report for group in ("passed", "failed") for report in terminalreporter.stats.get(group, [])]
    calls = [(report, value) for report in reports for name, value in report.user_properties if name == "fault"]
    calls = [(report, value) for report, value in calls if report.when == "call"]
    if calls:
        ended = sum(report.passed for report, _ in calls)
        terminalreporter.section("faults")
        for kind, count in sorted(Counter(value for _, value in calls).items()):
            terminalreporter.line(f"{count:4d} {kind}")
        terminalreporter.line(f"{len(calls)} faults injected, {ended} ended in a right result or one clear error")


def settings_file(folder: Path, chosen: BaseModel) -> Path:
    """The file by which a step is given its settings."""
    text = chosen.model_dump_json()
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def browser() -> str:
    """A program that shows pages without a screen."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)}")
    return found


@pytest.fixture
def store() -> Store:
    """A store of 48 noisy 16 x 16 images in two classes, the brighter one called `high`, with train, val and test."""
    rng = np.random.default_rng(0)
    names = np.array(["train"] * 32 + ["val"] * 8 + ["test"] * 8)
    labels = np.array(["low", "high"] * 24)
    images = rng.normal(0, 2000, (48, 1, 16, 16)) + np.where(labels == "low", 20000, 45000)[:, None, None, None]
    samples = pd.DataFrame(
        {
            "source_row": [str(row + 1) for row in range(48)],
            "image": [f"{row}.png" for row in range(48)],
            "subject_id": [f"s{row}" for row in range(48)],
            "split": names,
            "pathology": labels,
            "age_years": [str(row) for row in range(48)],
            "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
            "low": "0",
            "high": "255",
            "affine": "",
        },
        dtype=str,
    )
    info = StoreInfo(
        version=2,
        dataset="d",
        modality="chest_xray",
        simulated=False,
        size=(16, 16),
        channels=1,
        conditions={
            "pathology": {"kind": "categorical", "values": ["low", "high"]},
            "age_years": {"kind": "number", "range": [0, 100]},
        },
        label="pathology",
        structures={},
        rows_in=48,
        rows_out=48,
        rows_quarantined=0,
        digest="0" * 64,
    )
    return Store(info, images.clip(0, 65535).astype(np.uint16), None, samples)
