"""A new entry is one file and one line of the registry; the file stands outside the package here."""

import subprocess
import sys
from pathlib import Path

import pytest

METRIC = """
import numpy as np
from medsynth.evaluate.metrics.metric import Metric, Row

def rows(evidence):
    yield Row("brightness", "all", len(evidence.synthetic.table), 0, 1, 0, 1, 1, True)

BRIGHTNESS = Metric(frozenset(), rows)
"""
PHANTOM = """
import numpy as np
from medsynth.phantoms.phantom import Phantom, PhantomImage

def draw(seed, size, overrides):
    rng = np.random.default_rng(seed)
    shade = ("dark", "bright")[rng.integers(2)]
    voxels = np.full((1, *size), 0.8 if shade == "bright" else 0.2, np.float32) + rng.uniform(0, 0.1, size)
    return PhantomImage(voxels.astype(np.float32), np.zeros(size, np.uint8), {"shade": shade})

SHADES = Phantom("ultrasound", {"shade": {"kind": "categorical", "values": ["dark", "bright"]}}, {}, draw)
"""
FORMAT = """
import io
import numpy as np
from medsynth.images.formats.format import Format
from medsynth.images.image import Image

NPY = Format("NumPy", lambda data: Image(np.load(io.BytesIO(data), allow_pickle=False)[None], display=(0.0, 255.0)))
"""
RELEASE_FORMAT = """
import io
import numpy as np
from medsynth.images.formats.format import Format
from medsynth.release.formats import ReleaseFormat

def encode(image, slope, intercept, about):
    file = io.BytesIO()
    np.save(file, image.voxels)
    return file.getvalue()

NPY = ReleaseFormat(".npy", Format("NumPy", None, encode), "NumPy: values as they are")

class Npy:
    @staticmethod
    def misfit(image_shape):
        return None
"""
HANDOVER = """
from medsynth.config.handovers import OfAny
from medsynth.release.handovers.form import HandOver

LIST = HandOver("list.txt", "a list", lambda contents: None, lambda released: iter(()))
"""
EXTRACTOR = """
import numpy as np

class OfImages:
    spatial_dims = 2

def means(images):
    return images.reshape(len(images), -1).mean(1, keepdims=True).astype(np.float64)
"""
CONFIG = """
from medsynth.config import Config, parse
whole = parse(Config, {
    "datasets": {"d": {
        "source": {"kind": "phantom", "phantom": "PHANTOM", "count": 60}, "modality": "ultrasound", "size": [16, 16],
        "conditions": {"shade": {"kind": "categorical", "values": ["dark", "bright"]}}, "label": "shade",
        "plan": {"request": {"kind": "per_class", "column": "shade", "counts": {"dark": 2}}}, "formats": ["FORMAT"]}},
    "models": {"m": {"family": "diffusion", "stages": [{"channels": [8]}]}},
    "judges": {"extractor": "EXTRACTOR", "reader_epochs": 1, "readers": 1, "planted_copies": 4},
    "evaluation": {"metrics": ["METRIC", "kept_rate"], "bootstrap": 20}}, "test")
"""


def whole(**chosen: str) -> str:
    text = CONFIG
    defaults = {"PHANTOM": "chest_xray", "FORMAT": "png", "EXTRACTOR": "efficientnet_lite0", "METRIC": "kid"}
    for key, value in (defaults | chosen).items():
        text = text.replace(key, value)
    return text


PREPARE = (
    whole(PHANTOM="shades")
    + """
from pathlib import Path
from medsynth.artifacts.store import Store
from medsynth.prepare.prepare import prepare
prepare(whole.prepare("d"), Path("store"))
store = Store.open(Path("store"))
bright = store.intensities().mean((1, 2, 3)) > 0
assert (bright == (store.samples["shade"] == "bright")).all() and len(store) == 60
"""
)
EVALUATE = """
from medsynth.evaluate.evaluate import evaluate
from medsynth.reference.reference import look
import pandas as pd
rows = pd.DataFrame({"sample_id": ["d-m-0", "d-m-1"], "shade": ["dark", "dark"]})
reference = look(whole.reference("d"), store)
evaluate(whole.evaluate("d"), store, reference, store.images[:2], rows, None, Path("out"))
"""
CASES = {
    "phantom": (PHANTOM, 'PHANTOMS["shades"] = registry.Entry("toy:SHADES")', PREPARE),
    "format": (
        FORMAT,
        'FORMATS[".npy"] = registry.Entry("toy:NPY")',
        "from medsynth.images.formats.files import read\nimport numpy as np\nfrom pathlib import Path\n"
        "np.save('a.npy', np.eye(4, dtype=np.uint8))\nassert read(Path('a.npy')).voxels.sum() == 4",
    ),
    "release format": (
        RELEASE_FORMAT,
        'RELEASE_FORMATS["npy"] = registry.Entry("toy:NPY", "toy:Npy")',
        whole(FORMAT="npy") + "from medsynth.release.formats import named\n"
        "assert named(whole.release('d').formats)['npy'].suffix == '.npy'",
    ),
    "hand-over": (
        HANDOVER,
        'HANDOVERS["list"] = registry.Entry("toy:LIST", "toy:OfAny")',
        whole().replace('"formats"', '"handovers": ["list"], "formats"')
        + "assert registry.HANDOVERS['list'] in whole.chosen('release', 'd', 'm')\n"
        "assert whole.release('d').handovers == ('list',)",
    ),
    "metric": (
        PHANTOM + METRIC,
        'METRICS["brightness"] = registry.Entry("toy:BRIGHTNESS"); '
        'registry.PHANTOMS["shades"] = registry.Entry("toy:SHADES")',
        PREPARE.replace('"kid"', '"brightness"') + EVALUATE
        + "assert pd.read_csv('out/metrics.csv')['metric'].unique().tolist() == ['kept_rate', 'brightness']",
    ),
    "extractor": (
        PHANTOM + EXTRACTOR,
        'EXTRACTORS["means"] = registry.Entry("toy:means", "toy:OfImages"); '
        'registry.PHANTOMS["shades"] = registry.Entry("toy:SHADES")',
        PREPARE.replace("efficientnet_lite0", "means") + EVALUATE + "assert reference.features['test'].shape[1] == 1",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_entry_is_added_by_one_file_and_one_line(name: str, tmp_path: Path) -> None:
    source, line, program = CASES[name]
    (tmp_path / "toy.py").write_text(source)
    program = f"import sys; sys.path.insert(0, '.')\nfrom medsynth import registry\nregistry.{line}\n{program}\n"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
