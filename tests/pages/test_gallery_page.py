"""gallery.html: what it is told of each sample, and what a reader sees of it in Chromium."""

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medsynth.artifacts.outcomes import FAIL, PASS
from medsynth.gates.thresholds import row
from medsynth.pages import gallery
from medsynth.pages.gallery import Nearest
from medsynth.pages.template import held
from tests.release.toys import METRICS

EVIL = "</script><img src=x onerror=document.title='evil'>"
INFO = SimpleNamespace(dataset="toy", label="pathology", simulated=False)
GATES = pd.DataFrame(
    [row("integrity", PASS, "verdicts"), row("fidelity", FAIL, "kid", group="all", value="2", expected=EVIL)]
)


def table(count: int, sort: str = "sort") -> pd.DataFrame:
    """Rows as `browse` has them: every third nodule, every tenth rejected; `sort` is a condition's name."""
    number = np.arange(count)
    return pd.DataFrame(
        {
            "sample_id": [f"toy-diffusion-{each:06d}" for each in number],
            "seed": number,
            "pathology": np.where(number % 3 == 0, "nodule", EVIL),
            "severity": [f"{each / count:.4f}" if each % 2 else "n/a" for each in number],
            sort: (number % 4).astype(str),
            "predicted_pathology": np.where(number % 5 == 0, "nodule", EVIL),
            "nearest_similarity": [f"{each / count:.6f}" for each in number],
            "verdict": np.where(number % 10 == 9, "rejected", "kept"),
            "reason": np.where(number % 10 == 9, "too close to a training image", ""),
        }
    )


def smooth(count: int, side: int) -> np.ndarray:
    """uint16 (count, 1, side, side) with as much detail as radiographs have."""
    rng = np.random.default_rng(0)
    coarse = gaussian_filter(rng.normal(size=(count, side, side)), (0, side / 10, side / 10))
    fine = gaussian_filter(rng.normal(size=(count, side, side)), (0, 1, 1))
    mixed = coarse / coarse.std() + 0.15 * fine / fine.std()
    return (np.clip(mixed / 6 + 0.5, 0, 1)[:, None] * 65535).astype(np.uint16)


def page(count: int, side: int, path: Path, internal: bool = True) -> Path:
    images = smooth(count, side)
    nearest = Nearest(images[::-1], np.arange(count) // 2) if internal else None
    text = gallery.gallery(INFO, table(count), images, METRICS, GATES, nearest=nearest)
    (path / gallery.FILE).write_text(text, encoding="utf-8")
    return path / gallery.FILE


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    return page(1000, 64, tmp_path_factory.mktemp("gallery"))


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_columns_are_grouped_and_filtered_by_what_they_hold() -> None:
    found = {column.pop("name"): column for column in gallery.columns_of(table(40).astype(str))}
    assert found["pathology"] == {"group": "asked", "kind": "choice", "values": [EVIL, "nodule"]}
    assert found["severity"] == {"group": "asked", "kind": "range", "low": 0.025, "high": 0.975}
    assert found["sort"]["values"] == ["0", "1", "2", "3"]
    assert found["predicted_pathology"]["group"] == "read"
    assert found["verdict"] == {"group": "judged", "kind": "choice", "values": ["kept", "rejected"]}
    assert found["sample_id"] == found["seed"] == {"group": "origin", "kind": "text"}
    same = gallery.columns_of(pd.DataFrame({"grade": ["10", "9", "", "n/a"], "note": ["a"] * 4}))
    assert same[0] == {"name": "grade", "group": "asked", "kind": "choice", "values": ["", "n/a", "9", "10"]}
    assert same[1]["kind"] == "text"  # one value: nothing to choose
    few = gallery.columns_of(pd.DataFrame({"dose": ["0.5", "1", ""], "none": ["", "n/a", ""]}))
    assert few[0] == {"name": "dose", "group": "asked", "kind": "range", "low": 0.5, "high": 1.0}
    assert few[1]["values"] == ["", "n/a"]
    many = gallery.columns_of(
        pd.DataFrame({"word": [f"{each} a" for each in range(13)], "number": [str(each) for each in range(13)]})
    )
    assert [column["kind"] for column in many] == ["text", "range"]


def test_a_thumbnail_is_small_marked_and_never_enlarged() -> None:
    small, large = (decoded(gallery.picture(smooth(1, side)[0], "Synthetic", gallery.SIDE)) for side in (32, 300))
    assert small.size == (32, 32) and large.size == (128, 128)
    assert small.getexif()[gallery.DESCRIPTION_TAG] == "Synthetic"
    assert decoded(gallery.picture(smooth(1, 300)[0], "Synthetic")).size == (300, 300)
    wide = np.zeros((3, 100, 200), np.uint16)
    wide[0] = 65535
    shown = decoded(gallery.picture(wide, "", gallery.SIDE)).convert("RGB")
    red, green, blue = shown.getpixel((60, 30))
    assert shown.size == (128, 64) and red > 240 and green < 20 and blue < 20


def test_a_volume_is_its_three_planes_in_proportion_of_its_voxels() -> None:
    volume = np.zeros((1, 4, 20, 30), np.uint16)  # z, y, x
    volume[:, 2] = 65535  # white is the middle axial plane alone
    shown = decoded(gallery.picture(volume, "", None, (5.0, 1.0, 1.0))).convert("L")
    assert shown.size == (30 + 30 + 20, 20)
    pixels = np.asarray(shown).astype(int)
    assert (pixels[:, 2:28] > 240).all()
    # Five rows a slice, the highest slice above.
    assert pixels[[0, 7, 17], 45] == pytest.approx([0, 255, 0], abs=20)


def test_images_are_whole_where_they_fit(tmp_path: Path, monkeypatch) -> None:
    data = held(page(3, 200, tmp_path))
    assert data["reduced"] and decoded(data["whole"]["own"][1]).size == (200, 200)
    assert decoded(data["whole"]["nearest"][1]).size == (200, 200)
    monkeypatch.setattr(gallery, "MOST_CHARACTERS", sum(map(len, data["whole"]["own"])))
    assert held(page(3, 200, tmp_path))["whole"] is None
    assert not held(page(3, 64, tmp_path))["reduced"]


def test_a_page_to_hand_over_has_no_training_image(tmp_path: Path) -> None:
    data = held(page(4, 16, tmp_path, internal=False))
    assert data["of_row"] is None and set(data["thumbnails"]) == {"own"} and len(data["thumbnails"]["own"]) == 4


def test_each_sample_has_its_own_and_its_nearest_image(tmp_path: Path) -> None:
    images = np.stack([np.full((1, 8, 8), level << 8, np.uint16) for level in (0, 60, 120, 180, 240)])
    shown = table(5).iloc[[3, 1]]
    nearest = Nearest(images, np.array([4, 0]))
    text = gallery.gallery(INFO, shown, images, METRICS, GATES, nearest=nearest)
    (tmp_path / "a.html").write_text(text)
    data = held(tmp_path / "a.html")
    own, others = ([decoded(each).convert("L").getpixel((4, 4)) for each in data["thumbnails"][name]]
                   for name in ("own", "nearest"))  # fmt: skip
    assert own == pytest.approx([180, 60], abs=3)
    assert [others[of] for of in data["of_row"]] == pytest.approx([240, 0], abs=3)
    assert data["rows"][0][0] == "toy-diffusion-000003"


def test_a_thousand_images_are_less_than_ten_megabytes(thousand: Path) -> None:
    assert thousand.stat().st_size < 10e6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fragment", "count", "first"),
    [
        ("", 1000, "000000"),
        ("verdict=rejected&sort=nearest_similarity&order=desc", 100, "000999"),
        ("pathology=nodule&predicted_pathology=nodule", 67, "000000"),
        ("severity=0.5..0.6", 50, "000501"),
        ("severity=..0.01&order=desc", 5, "000009"),
        (".sort=3&sort=severity", 250, "000003"),
        ("sort=severity&order=desc", 1000, "000999"),
        ("find=too+close", 100, "000009"),
        ("find=nothing+of+this", 0, None),
    ],
)
def test_an_address_is_a_view(look, thousand: Path, fragment: str, count: int, first: str | None) -> None:
    seen = look(thousand, fragment)
    assert seen.text("count") == f"{count} of 1000 images"
    order = seen.all(r'data-row="(\d+)"')
    assert len(order) == min(count, len(order)) and (order[0].zfill(6) if order else None) == first
    assert seen.console == []


@pytest.mark.slow
def test_nothing_in_the_data_becomes_markup(look, thousand: Path) -> None:
    seen = look(thousand, "open=toy-diffusion-000001")
    assert seen.text("id") == "toy-diffusion-000001 (2 of 1000)"
    assert seen.all("<title>(.*?)</title>") == ["toy-diffusion: synthetic images"]
    assert "<img src=x" not in seen.dom and '<img src="x"' not in seen.dom
    assert EVIL in seen.all(r"<td>([^<]*)</td>")
    assert seen.console == []


@pytest.mark.slow
def test_every_image_is_marked_and_an_internal_page_says_so(look, tmp_path: Path) -> None:
    internal = look(page(6, 32, tmp_path))
    assert internal.all("<small>(.*?)</small>") == ["SYNTHETIC", "TRAINING"] * 6
    assert internal.all(r'id="internal"( hidden="")?') == [""]
    assert internal.all(r"<li>kid <b>(.*?)</b>, real images (?:.*?)</li>") == ["2.412"]
    assert internal.all(r'<li class="(\w+"><b>. </b>\w+): ') == ['pass"><b>✓ </b>integrity', 'fail"><b>✗ </b>fidelity']
    handed_over = look(page(6, 32, tmp_path, internal=False))
    assert handed_over.all("<small>(.*?)</small>") == ["SYNTHETIC"] * 6
    assert handed_over.all(r'id="internal"( hidden="")?') == [' hidden=""']
    assert all("alt=" in tag for tag in handed_over.all(r"<img [^>]*>"))


HAND = """
const said = [], note = () => said.push(location.hash, document.getElementById("count").textContent);
const at = selector => document.querySelector(selector);
at('input[name=verdict][value=rejected]').click(); note();
at('input[name=severity]').value = "0.5";
at('input[name=severity]').dispatchEvent(new Event("input", {bubbles: true})); note();
at("#sort").value = "nearest_similarity";
at("#sort").dispatchEvent(new Event("change", {bubbles: true}));
at("#order").click(); note();
at("#cards button").click(); note();
at("#dialog").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
note(); said.push(at("#dialog").open);
at("#close").click();
at("#dialog").addEventListener("close", () => {
  note(); said.push(at("#dialog").open);
  at("#reset").click(); note();
  document.title = JSON.stringify(said);
});
"""


@pytest.mark.slow
def test_what_a_reader_clicks_stands_in_the_address(look, tmp_path: Path) -> None:
    path = page(40, 16, tmp_path)
    text = re.sub(r"script-src [^\"]*", "script-src 'unsafe-inline'", path.read_text())
    path.write_text(text.replace("</body>", f"<script>{HAND}</script></body>"))
    seen = look(path)
    assert seen.console == []
    rejected, chosen, ordered = "#verdict=rejected", "&severity=0.5..", "&sort=nearest_similarity&order=desc"
    assert json.loads(seen.all("<title>(.*?)</title>")[0]) == [
        *(rejected, "4 of 40 images"),
        *(rejected + chosen, "2 of 40 images"),
        *(rejected + chosen + ordered, "2 of 40 images"),
        *(rejected + chosen + ordered + "&open=toy-diffusion-000039", "2 of 40 images"),
        *(rejected + chosen + ordered + "&open=toy-diffusion-000029", "2 of 40 images", True),
        *(rejected + chosen + ordered, "2 of 40 images", False),
        *("", "40 of 40 images"),
    ]
