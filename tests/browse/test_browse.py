"""The page of all samples of a run, beside their nearest training images."""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.browse.browse import browse
from medsynth.errors import InputError
from medsynth.pages.template import held
from tests.release.toys import GATES, METRICS

IDS = [f"d-m-{number:06d}" for number in range(4)]
ROWS = pd.DataFrame(
    {"sample_id": IDS, "seed": "7", "model_sha256": "a", "sampler": "{}", "pathology": "low", "mask_of": "3"}
)
VERDICTS = pd.DataFrame(
    {
        "sample_id": IDS[::-1],  # in another order than the rows
        "predicted_pathology": "high",
        "nearest_similarity": ["0.4", "0.3", "0.2", "0.1"],
        "nearest_image": ["3.png", "3.png", "0.png", "3.png"],
        "verdict": ["kept", "surplus", "kept", "rejected"],
        "reason": ["", "", "", "a copy"],
    }
)


def shade(thumbnail: str) -> float:
    return float(np.asarray(Image.open(io.BytesIO(base64.b64decode(thumbnail))).convert("L")).mean())


def test_every_sample_is_beside_the_training_image_that_it_is_most_like(store, tmp_path: Path) -> None:
    images = np.stack([np.full((1, 16, 16), level << 8, np.uint16) for level in (0, 80, 160, 240)])
    browse(store, images, ROWS, VERDICTS, METRICS, GATES, tmp_path / "out/gallery.html")
    data = held(tmp_path / "out/gallery.html")
    place = {column["name"]: at for at, column in enumerate(data["columns"])}
    assert [row[place["sample_id"]] for row in data["rows"]] == IDS
    assert [row[place["verdict"]] for row in data["rows"]] == ["rejected", "kept", "surplus", "kept"]
    assert [row[place["nearest_similarity"]] for row in data["rows"]] == ["0.1", "0.2", "0.3", "0.4"]
    assert [shade(each) for each in data["thumbnails"]["own"]] == pytest.approx([0, 80, 160, 240], abs=4)
    nearest = [shade(data["thumbnails"]["nearest"][of]) for of in data["of_row"]]
    expected = [store.images[row].mean() / 256 for row in (3, 0, 3, 3)]
    assert nearest == pytest.approx(expected, abs=4)
    assert [gate["name"] for gate in data["gates"]] == ["integrity", "fidelity", "copies"]


def test_no_name_of_a_training_image_stands_in_the_page(store, tmp_path: Path) -> None:
    browse(store, store.images[:4], ROWS, VERDICTS, METRICS, GATES, tmp_path / "gallery.html")
    text = (tmp_path / "gallery.html").read_text()
    assert not any(name in text for name in ("3.png", "nearest_image", "mask_of"))


def test_a_training_image_that_is_not_there_is_one_line(store, tmp_path: Path) -> None:
    verdicts = VERDICTS.assign(nearest_image="47.png")  # of the test split
    said = "sample d-m-000000: its nearest image '47.png' is no training image of d"
    with pytest.raises(InputError, match=said):
        browse(store, store.images[:4], ROWS, verdicts, METRICS, GATES, tmp_path / "gallery.html")
    assert not (tmp_path / "gallery.html").exists()
