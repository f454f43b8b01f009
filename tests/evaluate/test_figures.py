from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from medsynth.evaluate import figures
from medsynth.images import drawing


def pictures(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (count, *shape)).astype(np.uint16)


def count_colour(path: Path, colour: str) -> int:
    return int((np.asarray(Image.open(path).convert("RGB")) == ImageColor.getrgb(colour)).all(-1).sum())


def test_tile_keeps_proportions_and_intensity() -> None:
    tile = np.asarray(drawing.to_tile(np.full((1, 32, 64), 0x8080, dtype=np.uint16)))
    assert tile.shape == (drawing.TILE, drawing.TILE, 3)
    assert (tile[32:96] == 0x80).all()
    assert (tile[:32] == 0).all()


def test_tile_of_a_volume_is_its_middle_slice() -> None:
    volume = np.zeros((1, 9, 16, 16), dtype=np.uint16)
    volume[:, 4] = 65535
    assert (np.asarray(drawing.to_tile(volume)) == 255).all()


def test_tile_keeps_colour() -> None:
    image = np.zeros((3, 16, 16), dtype=np.uint16)
    image[1] = 65535
    assert np.asarray(drawing.to_tile(image))[64, 64].tolist() == [0, 255, 0]


def test_every_synthetic_image_of_a_contact_sheet_is_marked(tmp_path: Path) -> None:
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    classes = ["normal", "nodule"]
    images, labels = pictures(12, 1, 32, 32), np.array(classes * 6)
    figures.contact_sheet(few, "d", classes, (images, labels), (images[:2], labels[:2]))
    figures.contact_sheet(many, "d", classes, (images, labels), (images[:8], labels[:8]))
    key = 12 * 12  # the square in the key to the colours
    one = count_colour(few, drawing.SYNTHETIC) / 2 - key
    assert one > 800  # frame and mark
    assert count_colour(many, drawing.SYNTHETIC) == pytest.approx(4 * count_colour(few, drawing.SYNTHETIC), rel=0.2)
    assert count_colour(many, drawing.REAL) == pytest.approx(count_colour(few, drawing.REAL), rel=0.01)


def test_a_class_without_images_leaves_its_row_empty(tmp_path: Path) -> None:
    none, two = (pictures(0, 1, 16, 16), np.array([])), (pictures(2, 1, 16, 16), np.array(["b", "b"]))
    figures.contact_sheet(tmp_path / "a.png", "d", ["a", "b"], none, two)
    assert Image.open(tmp_path / "a.png").size[0] > 200


def test_a_contact_sheet_shows_each_class_in_its_row(tmp_path: Path) -> None:
    white, labels = np.full((3, 1, 16, 16), 65535, dtype=np.uint16), np.array(["b", "a", "b"])
    white[1] = 0
    figures.contact_sheet(tmp_path / "a.png", "d", ["a", "b"], (white, labels), (white[:0], labels[:0]))
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    left, top = drawing.MARGIN + drawing.TILE // 2, 3 * drawing.MARGIN + 26 + drawing.TILE // 2
    next_class = drawing.TILE + drawing.GAP + 34  # without a row of synthetic images, of which there are none
    assert sheet[top, left].tolist() == [0, 0, 0] and sheet[top + next_class, left].tolist() == [255, 255, 255]


def test_nearest_neighbours_shows_the_most_similar(tmp_path: Path) -> None:
    synthetic, training = pictures(12, 1, 16, 16), np.zeros((12, 1, 16, 16), dtype=np.uint16)
    training[7] = 65535  # white, and the most similar
    similarity = np.where(np.arange(12) == 7, 0.9, 0.1)
    figures.nearest_neighbours(tmp_path / "n.png", synthetic, training, similarity, 0.5, columns=1)
    sheet = np.asarray(Image.open(tmp_path / "n.png"))
    middle = 3 * drawing.MARGIN + drawing.TILE + drawing.GAP + drawing.TILE // 2
    assert (sheet[middle, drawing.MARGIN + 10 : drawing.MARGIN + 100] == 255).all()


@pytest.mark.parametrize("validated", [True, False])
def test_training_curves_with_and_without_validation(tmp_path: Path, validated: bool) -> None:
    steps = np.arange(30)
    history = pd.DataFrame(
        {
            "images_seen": steps * 32,
            "loss": 1 / (1 + steps),
            "val_loss": np.where((steps % 5 == 0) & validated, 0.5, np.nan),
            "learning_rate": 1e-3,
        }
    )
    figures.training_curves(tmp_path / "curves.png", history)
    drawn = count_colour(tmp_path / "curves.png", drawing.SYNTHETIC)
    assert drawn > (500 if validated else 10)


def test_the_curves_of_an_overfitted_model_are_shaded(tmp_path: Path) -> None:
    seen = np.arange(0, 1000, 100)
    loss = {"images_seen": seen, "loss": 1.0, "val_loss": 0.5, "learning_rate": 1e-3}
    shaded = []
    for name, overfitted_from in (("a.png", None), ("b.png", 500)):
        figures.training_curves(tmp_path / name, pd.DataFrame(loss), overfitted_from)
        grey = np.asarray(Image.open(tmp_path / name).convert("L")).astype(int)
        shaded.append(((grey > 200) & (grey < 240)).mean())
    assert shaded[1] > shaded[0] + 0.1


def test_adherence_draws_what_was_asked(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "asked_pathology": ["normal", "nodule", "nodule"],
            "predicted_pathology": ["normal", "nodule", "normal"],
            "asked_severity": ["n/a", "0.5", ""],
            "predicted_severity": ["n/a", "0.6", "0.4"],
        }
    )
    readings = {"real": table, "synthetic": table.iloc[:1]}
    figures.adherence(tmp_path / "a.png", "pathology", ("normal", "nodule"), readings, ["severity"])
    assert figures._title("real", "lesion_x", ()) == "real: lesion x"
    assert figures._title("real", "lesion_x", {"lesion_x"}) == "real: lesion x\n(reader inadequate)"
    assert count_colour(tmp_path / "a.png", drawing.REAL) > 1000  # normal images are all read as normal
