"""Rows of frames: what the table says is what `prepare` stores."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml

from medsynth import config
from medsynth.cli import main
from medsynth.errors import InputError
from medsynth.init.init import init
from medsynth.tabulate.tabulate import Options, tabulate
from tests.images.formats.test_dicom import NAME, dataset, encode
from tests.tabulate.test_tabulate import prepared, read

FILES, FRAMES = 6, 5
RNG = np.random.default_rng(0)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Six ultrasound clips of five frames, one still, and one damaged file."""
    for number in range(FILES):
        frames = RNG.integers(0, 255, (FRAMES, 16, 16), dtype=np.uint8)
        data = dataset(frames[0], Modality="US", NumberOfFrames=FRAMES, PixelData=frames.tobytes())
        (tmp_path / f"{number}.dcm").write_bytes(encode(data))
        tifffile.imwrite(tmp_path / f"{number}.tif", (frames > 99).astype(np.uint8), photometric="minisblack")
    (tmp_path / "still.dcm").write_bytes(encode(dataset(frames[1], Modality="US")))
    (tmp_path / "bad.dcm").write_bytes(b"damaged")
    names = [*(f"{number}.dcm" for number in range(FILES)), "still.dcm", "bad.dcm"]
    masks = [*(f"{number}.tif" for number in range(FILES)), "n/a", "n/a"]
    rows = {"image": names, "mask": masks, "subject_id": list("abcdefgh"), "label": ["x", "y"] * 4}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_every_frame_has_a_row_and_is_stored_without_a_name(clips, tmp_path, caplog):
    table = tabulate(clips, None, Options(every_frame=2))
    rows = read(table)
    assert table == tmp_path / "t_frames.csv" and "row 8 (bad.dcm) is left out" in caplog.text
    assert rows["image"][:4].tolist() == ["0.dcm#0", "0.dcm#2", "0.dcm#4", "1.dcm#0"]
    assert rows["mask"][:2].tolist() == ["0.tif#0", "0.tif#2"] and rows["frame"][:3].tolist() == ["0", "2", "4"]
    assert rows.iloc[-1][["image", "mask", "frame"]].tolist() == ["still.dcm", "n/a", "0"]
    assert rows["subject_id"].value_counts().to_dict() == dict.fromkeys("abcdef", 3) | {"g": 1}
    store = prepared(table, tmp_path / "store", ("x", "y"))
    assert len(store) == len(rows) == 19 and store.masks is not None
    for place, row in store.samples.iterrows():
        if row["image"] != "still.dcm":
            brighter = store.images[place, 0] > 65535 * 99.5 / 255
            assert np.array_equal(store.masks[place], brighter)  # the mask of this very frame
    for path in (tmp_path / "store").iterdir():
        assert NAME.encode() not in path.read_bytes(), path
    assert NAME not in table.read_text()


def test_a_table_of_frames_is_refused_where_it_means_nothing(clips, tmp_path):
    tabulate(clips, None, Options(every_frame=1))
    for options, out, message in (
        (Options(every_frame=1), None, "t_frames.csv: is there already"),
        (Options(every_frame=1), tmp_path / "out", "the images of .* stay where they are"),
    ):
        with pytest.raises(InputError, match=message):
            tabulate(clips, out, options)
    with pytest.raises(InputError, match="has a column 'frame' already"):
        tabulate(tmp_path / "t_frames.csv", None, Options(every_frame=1))
    with pytest.raises(InputError, match="is no table of files with frames"):
        tabulate(tmp_path, None, Options(every_frame=1))


def test_a_mask_of_other_frames_leaves_its_row_out(clips, tmp_path, caplog):
    tifffile.imwrite(tmp_path / "2.tif", np.zeros((3, 16, 16), np.uint8), photometric="minisblack")
    rows = read(tabulate(clips, None, Options(every_frame=1)))
    assert "c" not in set(rows["subject_id"]) and "mask of 3 frames, its image has 5" in caplog.text


def test_the_command(clips, tmp_path, capsys):
    main(["tabulate", str(clips), "--frames", "--every", "4"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "t_frames.csv")
    assert len(read(tmp_path / "t_frames.csv")) == 2 * FILES + 1


def test_a_configuration_is_proposed_for_frames(clips):
    text = init(tabulate(clips, None, Options(every_frame=1)))
    (dataset,) = config.parse(config.Config, yaml.safe_load(text), "init").datasets.values()
    assert dataset.modality == "ultrasound" and dataset.label == "label" and "Patients are named by" in text
