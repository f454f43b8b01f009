"""Benchmarks are scripts: their folder is on the path as when one is run."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medsynth import registry

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """40 simulated chest X-rays of 32 x 32 as PNG, and their table."""
    folder = tmp_path_factory.mktemp("table")
    rows = []
    for seed in range(40):
        image = registry.PHANTOMS["chest_xray"].load().render(seed, (32, 32))
        Image.fromarray(np.rint(image.voxels[0] * 255).astype(np.uint8)).save(folder / f"{seed}.png")
        rows.append((f"{seed}.png", f"s{seed}", f"{20 + seed}", ("normal", "nodule")[seed % 2]))
    columns = ["image", "subject_id", "age_years", "finding"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "samples.csv", index=False)
    return folder / "samples.csv"


@pytest.fixture(autouse=True)
def settings_of_torch():
    """A benchmark sets its process up for speed; other tests have theirs as they were."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
