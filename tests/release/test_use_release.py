"""The code on the page for those who use a release runs as it stands there, without medsynth."""

import re
from pathlib import Path

import numpy as np
import pytest

from medsynth.release.release import release
from tests.release.handovers.loaders import load
from tests.release.toys import as_files, make_samples, make_store

PAGE = (Path(__file__).parents[2] / "docs/use_release.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LIBRARIES = ("pyarrow", "datasets", "monai", "pydicom", "mlcroissant")
COUNT = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Images of 16 x 16 pixels of noise, those of the second class with a bright square somewhere."""
    store, samples = make_store(), make_samples(COUNT)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 30_000, (COUNT, 1, 16, 16), dtype=np.uint16)
    for number in range(1, COUNT, 2):
        y, x = rng.integers(0, 10, 2)
        images[number, 0, y : y + 6, x : x + 6] += 30_000
    samples["images"], store.info.size = images, (16, 16)
    samples["verdicts"]["verdict"] = "kept"
    forms = ("parquet", "decathlon", "dicom", "croissant")
    out = tmp_path_factory.mktemp("use") / "out"
    release(as_files(formats=("png",), handovers=forms), store, **samples, out=out)
    return out


def test_ten_lines_train_a_classifier_from_the_folder_alone(folder):
    judged = """
net.eval()
print(json.dumps([(net(images).argmax(1) == torch.from_numpy(labels)).float().mean().item(), list(classes)]))
"""
    accuracy, classes = load(folder, f"import torch\ntorch.manual_seed(0)\n{BLOCKS[0]}{judged}", "torch")
    assert classes == ["nodule", "normal"] and accuracy > 0.95
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) == 10


@pytest.mark.parametrize(("block", "library"), [*zip(BLOCKS[1:], LIBRARIES, strict=True)], ids=LIBRARIES)
def test_other_loaders_read_it_as_the_page_says(folder, block, library):
    shown = {
        "pyarrow": f"[len(table) == {COUNT}, list(picture.size) == [16, 16]]",
        "datasets": f"[len(samples) == {COUNT}, list(picture.size) == [16, 16], pathology == 'normal']",
        "monai": f"[len(entries) == {COUNT}, list(picture.shape) == [16, 16]]",
        "pydicom": f"[list(intensities.shape) == [{COUNT}, 16, 16]]",
        "mlcroissant": f"[len(rows) == {COUNT}]",
    }[library]
    found = load(folder, f"{block}\nprint(json.dumps({shown}))", library)
    assert found == [True] * len(found)
