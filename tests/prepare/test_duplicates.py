import csv
import logging

import numpy as np
import PIL.Image
import pytest

from medsynth.artifacts.store import Store
from medsynth.config import PrepareSettings
from medsynth.errors import InputError
from medsynth.prepare.prepare import prepare
from tests.judges.test_planted import textured

EACH = 20  # images of each pathology


class Collection:
    """Pictures of strangers, one a subject, to which a test adds."""

    def __init__(self, folder):
        self.folder = folder
        self.pictures = (textured(2 * EACH, 0)[:, 0] // 257).astype(np.uint8)
        self.rows = []
        for number, picture in enumerate(self.pictures):
            self.add(f"{number:02d}.png", f"s{number:02d}", ("normal", "nodule")[number % 2], picture)

    def add(self, name, subject, pathology, picture, **options):
        PIL.Image.fromarray(picture).save(self.folder / name, **options)
        self.rows.append({"image": name, "subject_id": subject, "pathology": pathology})

    def prepare(self, max_bad_fraction=0.1, **source):
        with (self.folder / "samples.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        given = {"kind": "table", "table": "samples.csv", "max_bad_fraction": max_bad_fraction} | source
        settings = PrepareSettings(
            seed=0, dataset="demo", data_root=str(self.folder), source=given, modality="chest_xray", size=(64, 64),
            fit="pad", conditions={"pathology": {"kind": "categorical", "values": ["normal", "nodule"]}},
            label="pathology", split={},
        )  # fmt: skip
        prepare(settings, self.folder / "out/demo")
        return Store.open(self.folder / "out/demo", verify=True)

    def table(self, name):
        with (self.folder / "out/demo" / f"{name}.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path)


@pytest.fixture
def doubled(collection):
    """Five pictures are there again, saved as JPEG under another subject of another name."""
    for number in range(5):
        label = collection.rows[number]["pathology"]
        collection.add(f"again{number}.jpg", f"z{number}", label, collection.pictures[number], quality=85)
    return collection


def test_subjects_with_the_same_picture_are_on_one_side_of_the_split(doubled, caplog):
    with caplog.at_level(logging.WARNING):
        whole = doubled.prepare()
    assert (whole.info.rows_in, whole.info.rows_out, whole.info.rows_quarantined) == (45, 45, 0)
    assert (whole.info.duplicates, whole.info.subjects_joined) == (5, 5)
    by_image = whole.samples.set_index("image")
    for number in range(5):
        assert by_image.loc[f"again{number}.jpg", "subject_id"] == f"s{number:02d}"
        assert by_image.loc[f"again{number}.jpg", "split"] == by_image.loc[f"{number:02d}.png", "split"]
    found = doubled.table("duplicates")
    assert [(row["image"], row["subject_id"], row["like_image"]) for row in found] == [
        (f"again{number}.jpg", f"z{number}", f"{number:02d}.png") for number in range(5)
    ]
    assert all(row["action"] == "joined" and float(row["likeness"]) > whole.info.duplicate_limit for row in found)
    assert "5 pairs of images of different subjects show the same" in caplog.text and "5 joined" in caplog.text


def test_the_later_one_is_quarantined_and_says_what_it_shows(doubled):
    whole = doubled.prepare(duplicates="quarantine", max_bad_fraction=0.2)
    assert (whole.info.rows_out, whole.info.rows_quarantined, whole.info.subjects_joined) == (40, 5, 0)
    assert not set(whole.samples["image"]) & {f"again{number}.jpg" for number in range(5)}
    assert "shows the same as row 1 (00.png), likeness " in doubled.table("quarantine")[0]["reason"]
    kept = dict(zip(whole.samples["image"], whole.intensities()[:, 0], strict=True))
    for number in (0, 17, 39):  # the images still stand beside their rows
        expected = doubled.pictures[number] / 127.5 - 1
        np.testing.assert_allclose(kept[f"{number:02d}.png"], expected, atol=0.01)
    with pytest.raises(InputError, match=r"5 of 45 rows cannot be used .*row 41 \(again0\.jpg\)"):
        doubled.prepare(duplicates="quarantine", max_bad_fraction=0.1)


def test_a_report_changes_nothing_else(doubled):
    whole = doubled.prepare(duplicates="report")
    assert (whole.info.rows_out, whole.info.duplicates, whole.info.subjects_joined) == (45, 5, 0)
    assert {row["action"] for row in doubled.table("duplicates")} == {"reported"}
    assert "z0" in set(whole.samples["subject_id"])


def test_pairs_of_two_classes_are_told_of(doubled, caplog):
    doubled.rows[40]["pathology"] = "nodule"
    with caplog.at_level(logging.WARNING):
        doubled.prepare()
    first, *others = doubled.table("duplicates")
    assert (first["label"], first["like_label"]) == ("nodule", "normal")
    assert all(pair["label"] == pair["like_label"] for pair in others)
    assert "1 of these pairs have two values of pathology" in caplog.text
    assert "row 1 (00.png, normal) and row 41 (again0.jpg, nodule)" in caplog.text
    caplog.clear()
    doubled.rows[40]["pathology"] = "normal"
    with caplog.at_level(logging.WARNING):
        doubled.prepare()
    assert "two values" not in caplog.text


def test_a_chain_is_one_subject(collection):
    for name, subject in (("a.jpg", "zz"), ("b.jpg", "aa")):
        collection.add(name, subject, "normal", collection.pictures[4], quality=90 if name < "b" else 80)
    whole = collection.prepare()
    same = whole.samples.set_index("image").loc[["04.png", "a.jpg", "b.jpg"]]
    assert set(same["subject_id"]) == {"aa"} and same["split"].nunique() == 1


def test_where_the_table_states_the_split_the_later_one_is_quarantined(doubled):
    for number, row in enumerate(doubled.rows):
        row["split"] = ("train", "train", "val", "test")[number % 4]
    doubled.rows[40]["split"], doubled.rows[0]["split"] = "test", "train"
    doubled.rows[41]["split"], doubled.rows[1]["split"] = "train", "train"
    whole = doubled.prepare()
    action = {row["image"]: row["action"] for row in doubled.table("duplicates")}
    assert (action["again0.jpg"], action["again1.jpg"]) == ("quarantined", "joined")
    splits = whole.samples.set_index("image")["split"]
    assert "again0.jpg" not in splits and splits["again1.jpg"] == splits["01.png"] == "train"


def test_the_very_same_pixels_join_subjects_too(collection):
    collection.add("same.png", "z", "normal", collection.pictures[6])
    collection.add("other.png", "z", "normal", (textured(1, 9)[0, 0] // 257).astype(np.uint8))
    whole = collection.prepare()
    assert (whole.info.rows_out, whole.info.rows_quarantined) == (41, 1)
    (pair,) = collection.table("duplicates")
    assert (pair["image"], pair["like_image"], pair["action"], pair["likeness"]) == (
        "same.png", "06.png", "quarantined", "1.0000",
    )  # fmt: skip
    assert whole.samples.set_index("image").loc["other.png", "subject_id"] == "s06"


def test_a_joined_subject_that_holds_most_images_is_told_of(collection, caplog):
    for number in range(12):
        picture = (0.9 * collection.pictures[3] + number).astype(np.uint8)
        collection.add(f"again{number}.png", f"z{number:02d}", "nodule", picture)
    with caplog.at_level(logging.WARNING):
        collection.prepare()
    assert "the joined subject s03 holds 13 of 52 images, more than 20 %" in caplog.text
    assert "source.duplicate_likeness" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        collection.prepare(duplicates="report")
    assert "joined subject" not in caplog.text


def test_strangers_stay_apart(collection):
    whole = collection.prepare()
    assert (whole.info.duplicates, whole.info.subjects_joined) == (0, 0) and collection.table("duplicates") == []
    assert whole.samples["subject_id"].nunique() == 2 * EACH
