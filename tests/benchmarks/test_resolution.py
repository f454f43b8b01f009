import json

import pandas as pd
import pytest
import resolution

from medsynth.errors import InputError

TINY = {"training": {"effective_batch_size": 4}, "stages": [{"channels": [8]}, {"channels": [8]}]}
TINY |= {"sampler": {"steps": [2], "autoguidance": 1}}


def test_each_size_has_a_row_and_a_sheet(table, tmp_path):
    tiny = tmp_path / "tiny.json"
    tiny.write_text(json.dumps(TINY))
    fixed = {"table": table, "sizes": "32,16", "minutes": 0.02, "samples": 4, "threads": 1, "medsynth-config": tiny}
    arguments = [part for key, value in fixed.items() for part in (f"--{key}", str(value))]
    resolution.main([*arguments, "--out", str(tmp_path / "out")])
    rows = pd.read_csv(tmp_path / "out/resolution.csv")
    assert rows["size"].tolist() == [16, 32] and (rows["seconds"] >= 1.2).all() and (rows["n_synthetic"] == 4).all()
    assert (rows["peak_memory_gib"].diff()[1:] >= 0).all() and rows["peak_memory_gib"].between(0.05, 64).all()
    assert rows["coverage"].between(0, 1).all() and (rows["finest_octave"] > 0).all()
    assert all((tmp_path / f"out/contact_sheet_{size}.png").stat().st_size for size in (16, 32))


def test_a_size_that_is_none_is_refused(table, tmp_path):
    with pytest.raises(InputError, match="--sizes: got '0'"):
        resolution.main(["--table", str(table), "--sizes", "0", "--out", str(tmp_path / "out")])
