"""The handed-over folder: what stands in it can be read back, adds up and is refused when it does not fit together."""

import hashlib
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from medsynth.artifacts.outcomes import FAIL
from medsynth.config import columns
from medsynth.config.gates import NOT_ENFORCED
from medsynth.errors import InputError
from medsynth.gates.thresholds import row
from medsynth.pages.template import held
from medsynth.release.release import release, release_one
from tests.release.toys import (
    AS_PNG,
    CHECKPOINT,
    DATA,
    TUNED,
    as_files,
    make_samples,
    make_store,
    read,
    schema_of,
    volumes,
)


def test_every_row_has_its_image_and_the_counts_add_up(tmp_path: Path) -> None:
    samples = make_samples()
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    kept, rejected = read(tmp_path / "out/metadata.csv"), read(tmp_path / "out/rejected.csv")
    assert kept.columns[0] == "file_name"
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out/images").iterdir())
    assert files == sorted(kept["file_name"])
    assert sorted([*kept["sample_id"], *rejected["sample_id"]]) == sorted(samples["rows"]["sample_id"])
    # The verdicts stand in another order than the rows: the second verdict is of the third sample.
    assert list(rejected["sample_id"]) == ["toy-diffusion-000002"]
    assert list(rejected["reason"]) == ["too close to a training image"]
    assert list(kept["predicted_pathology"]) == list(kept["pathology"])
    assert set(kept["synthetic"]) == {"true"} and set(kept["training_data_sha256"]) == {DATA}


def test_a_failed_gate_releases_nothing(tmp_path: Path) -> None:
    samples = make_samples()
    failed = row("diversity", FAIL, "coverage", group="all", value="0.7", expected="at least 0.8")
    samples["gates"] = pd.DataFrame([*samples["gates"].to_dict("records"), failed])
    said = "release: gate diversity failed: coverage is 0.7, expected at least 0.8; .* gates.diversity.waived"
    with pytest.raises(InputError, match=said):
        release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_waived_gate_releases_and_its_reason_is_printed(tmp_path: Path) -> None:
    samples = make_samples()
    failed = row("diversity", FAIL, "coverage", group="all", value="0.7", expected="at least 0.8", waived="a *demo*")
    samples["gates"] = pd.DataFrame([failed])
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    first, text = (tmp_path / "out/README.md").read_text().split("## What is here")
    assert "**The gate diversity failed, and was waived.** The reason that was given: a &#42;demo&#42;" in first
    assert "| diversity | fail, waived | coverage is 0.7, expected at least 0.8; waived&#58;" not in first
    assert "| diversity | fail, waived | coverage is 0.7, expected at least 0.8; waived: a &#42;demo&#42; |" in text
    assert read(tmp_path / "out/gates.csv")["waived"].tolist() == ["a *demo*"]


def test_a_gate_that_is_not_enforced_is_no_waiver_and_the_card_begins_with_it(tmp_path: Path) -> None:
    samples = make_samples()
    failed = row("diversity", FAIL, "coverage", group="all", value="0.7", expected="at least 0.8", waived=NOT_ENFORCED)
    samples["gates"] = pd.DataFrame([failed])
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "**The gate diversity failed: coverage is 0.7, expected at least 0.8.**" in text.split("## What is here")[0]
    assert "| diversity | fail, not enforced | coverage is 0.7, expected at least 0.8 |" in text
    assert "waived" not in text


def test_what_is_rejected_cannot_be_made_again_from_its_row(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    rejected = read(tmp_path / "out/rejected.csv")
    assert set(rejected.columns) == columns.REJECTED | {"pathology"}
    assert not {"seed", "severity", "predicted_pathology"} & set(rejected.columns)
    assert list(read(tmp_path / "out/metadata.csv")["seed"]) == ["0", "1", "3"]
    assert "without their seed" in " ".join((tmp_path / "out/README.md").read_text().split())


def test_a_receiver_finds_which_of_his_images_were_trained_on(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    split = read(tmp_path / "out/real_split.csv")
    assert split.columns.tolist() == ["sha256", "split"]
    # Ordered by digest: the order of the table would tell which images belong together.
    assert split.to_numpy().tolist() == [["0" * 64, "train"], ["7" * 64, "test"], ["f" * 64, "train"]]
    text = (tmp_path / "out/real_split.csv").read_text()
    assert not any(name in text for name in ("s7", "s8", "s9", ".png"))


def test_the_configuration_goes_along_and_has_the_digest_of_the_table(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    text = (tmp_path / "out/generator.json").read_bytes()
    chosen = {key: value for key, value in TUNED.items() if key not in ("sampler", "weights_sha256")}
    assert json.loads(text) == {"sampler": {}, "train": CHECKPOINT["settings"], "tune": chosen}
    assert "| how the sampler was chosen | 2 of 3 settings |" in (tmp_path / "out/README.md").read_text()
    assert set(read(tmp_path / "out/metadata.csv")["config_sha256"]) == {hashlib.sha256(text).hexdigest()}


def test_samples_of_two_samplers_are_refused(tmp_path: Path) -> None:
    samples = make_samples()
    samples["rows"].loc[0, "sampler"] = '{"steps": 3}'
    with pytest.raises(InputError, match="by 2 samplers, expected one"):
        release(AS_PNG, make_store(), **samples, out=tmp_path / "out")


def test_samples_of_a_sampler_that_tune_did_not_choose_are_refused(tmp_path: Path) -> None:
    samples = make_samples() | {"tuned": TUNED | {"sampler": {"steps": 3}}}
    with pytest.raises(InputError, match=r"by another sampler than that of sampler\.json"):
        release(AS_PNG, make_store(), **samples, out=tmp_path / "out")


def test_one_sample_made_again_is_the_released_file(tmp_path: Path, monkeypatch) -> None:
    samples, store = make_samples(), make_store()
    release(AS_PNG, store, **samples, out=tmp_path / "out")
    train = tmp_path / "results/train/toy/diffusion"
    train.mkdir(parents=True)
    (train / "model.json").write_text(json.dumps(CHECKPOINT))
    monkeypatch.setattr("medsynth.release.release.Store", SimpleNamespace(open=lambda folder: store))
    release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results", tmp_path / "again.png")
    released = tmp_path / "out/images/toy-diffusion-000001.png"
    assert (tmp_path / "again.png").read_bytes() == released.read_bytes()


def test_a_file_that_cannot_hold_the_image_is_one_line(tmp_path: Path, monkeypatch) -> None:
    store, samples = make_store("fundus", channels=3), make_samples(channels=3)
    monkeypatch.setattr("medsynth.release.release.Store", SimpleNamespace(open=lambda folder: store))
    with pytest.raises(InputError, match=r"again\.nii\.gz: nifti holds one channel, these have 3"):
        release_one("toy-diffusion-000001", samples["images"][1], tmp_path, tmp_path / "again.nii.gz")


def test_a_volume_made_again_has_the_format_of_its_release(tmp_path: Path, monkeypatch) -> None:
    store, samples = volumes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medsynth.release.release.Store", SimpleNamespace(open=lambda folder: store))
    train = tmp_path / "results/train/toy/diffusion"
    train.mkdir(parents=True)
    (train / "model.json").write_text(json.dumps(CHECKPOINT))
    again = tmp_path / "toy-diffusion-000001.nii.gz"
    release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results")  # nothing is released yet
    before = again.read_bytes()
    released = tmp_path / "results/release/toy/diffusion"
    release(as_files(formats=("nifti",)), store, **samples, out=released)
    again.unlink()
    release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results")
    assert before == again.read_bytes() == (released / "images/toy-diffusion-000001.nii.gz").read_bytes()
    with pytest.raises(InputError, match=r"a\.jpg: no format has this suffix, expected \.png or \.nii\.gz"):
        release_one("toy-diffusion-000001", samples["images"][1], tmp_path / "results", tmp_path / "a.jpg")


def test_formula_is_neutralised_and_a_number_is_not(tmp_path: Path) -> None:
    samples = make_samples()
    notes = ["=1+1", "@SUM(A1)", "-0.5e-3", "-lesion"]
    samples["rows"]["note"] = notes
    samples["verdicts"]["verdict"] = "kept"
    store = make_store()
    store.info.condition_schema = schema_of(2, note={"kind": "categorical", "values": notes})
    release(AS_PNG, store, **samples, out=tmp_path / "out")
    table = read(tmp_path / "out/metadata.csv")
    assert list(table["note"]) == ["'=1+1", "'@SUM(A1)", "-0.5e-3", "'-lesion"]
    assert set(table["severity"]) == {"-0.5"}


def test_checksums_cover_every_file(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "out/SHA256SUMS").read_text().splitlines()}
    present = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert listed == present - {"SHA256SUMS"}


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        release(AS_PNG, make_store(), **make_samples(), out=tmp_path / name)
    assert (tmp_path / "one/SHA256SUMS").read_bytes() == (tmp_path / "two/SHA256SUMS").read_bytes()


def test_all_rejected_leaves_a_table_without_rows(tmp_path: Path) -> None:
    samples = make_samples()
    samples["verdicts"]["verdict"] = "rejected"
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    assert len(read(tmp_path / "out/metadata.csv")) == 0 and len(read(tmp_path / "out/rejected.csv")) == 4


def lose_a_verdict(samples: dict) -> None:
    samples["verdicts"] = samples["verdicts"].iloc[1:]


def repeat_a_sample(samples: dict) -> None:
    samples["rows"].loc[1, "sample_id"] = samples["rows"].loc[0, "sample_id"]


def lose_an_image(samples: dict) -> None:
    samples["images"] = samples["images"][1:]


def take_another_model(samples: dict) -> None:
    samples["rows"].loc[2, "model_sha256"] = "b" * 64


def take_another_store(samples: dict) -> None:
    samples["checkpoint_info"] = CHECKPOINT | {"store": {"digest": "e" * 64}}


def invent_a_verdict(samples: dict) -> None:
    samples["verdicts"].loc[3, "verdict"] = "perhaps"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lose_a_verdict, "sample toy-diffusion-000003 is in the samples table alone"),
        (repeat_a_sample, "sample toy-diffusion-000000 stands twice in the samples table"),
        (lose_an_image, "3 images for 4 sample rows"),
        (take_another_model, "sample toy-diffusion-000002 is not by the model aaaaaaaaaaaa"),
        (take_another_store, "trained on data eeeeeeeeeeee"),
        (invent_a_verdict, "sample toy-diffusion-000000: verdict 'perhaps', expected kept, rejected or surplus"),
    ],
)
def test_what_does_not_belong_together_is_refused_and_the_old_release_stays(tmp_path: Path, spoil, message) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    before = (tmp_path / "out/SHA256SUMS").read_bytes()
    samples = make_samples()
    spoil(samples)
    with pytest.raises(InputError, match=message):
        release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    assert (tmp_path / "out/SHA256SUMS").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_volumes_have_a_page_that_says_where_it_has_no_viewer(tmp_path: Path, monkeypatch, caplog) -> None:
    store, samples = volumes()
    monkeypatch.setattr("medsynth.pages.niivue.place", lambda: tmp_path / "none.js")
    release(as_files(formats=("nifti",)), store, **samples, out=tmp_path / "out")
    assert "volumes.html has no viewer: NiiVue is not installed; `make viewer` installs it" in caplog.text
    data = held(tmp_path / "out/volumes.html")
    assert len(data["rows"]) == 3 and data["volumes"] == {} and data["file"] == "file_name"
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "flat")
    assert not (tmp_path / "flat/volumes.html").exists()
    assert len(held(tmp_path / "flat/gallery.html")["rows"]) == 3  # the kept ones
