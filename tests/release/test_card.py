"""The card: what it says is so, and whatever a class is called acts as no markup."""

import html
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from medsynth.artifacts.outcomes import PASS
from medsynth.config import Oversample, ReleaseSettings
from medsynth.gates.thresholds import row
from medsynth.release.markdown import plain
from medsynth.release.release import release
from tests.release.toys import AS_PNG, CHECKPOINT, DATA, as_files, make_samples, make_store, metrics


def test_card_counts_by_class_and_shows_each_metric(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc0-1.0" and {"synthetic", "medical"} <= set(front["tags"])
    for line in ("| normal | 2 | 1 | 0 | 1 |", "| nodule | 2 | 2 | 0 | 0 |", "| all | 4 | 3 | 0 | 1 |"):
        assert line in text
    assert "| kid | all | 2.41 | 2.2 to 2.6 | -0.001 | 100 | 4 | lower | 4 of 9 synthetic images |" in text
    assert "| nearest_similarity | pathology=normal | 0.5 |  | 0.6 | 100 | 4 | neither |  |" in text
    assert "`kid` compare features by the extractor `a_net`." in text


def test_card_says_what_each_interval_is(tmp_path: Path) -> None:
    release(AS_PNG, make_store(), **make_samples(), out=tmp_path / "out")
    text = " ".join((tmp_path / "out/README.md").read_text().split())
    for claim in (
        "Of `kid` and `kid_texture`, a bootstrap over the subjects of the held-out real images and over the synthetic",
        "of `fid`, `fid_texture`, `density`, `coverage`, `spectrum_distance_db` and `finest_octave_db`, a jackknife",
        "of all else, a bootstrap over the synthetic images alone.",
    ):
        assert claim in text


def card_of(tmp_path: Path, *rows: str, settings: ReleaseSettings = AS_PNG, simulated: bool = False) -> str:
    """The card's text on one line, of a release with these metrics."""
    store, samples = make_store(), make_samples()
    store.info.simulated = simulated
    release(settings, store, **(samples | {"metrics": metrics(*rows)}), out=tmp_path / "out")
    return " ".join((tmp_path / "out/README.md").read_text().split())


@pytest.mark.parametrize("simulated", [False, True])
def test_a_card_says_what_the_generator_learned_from_and_promises_nothing(tmp_path: Path, simulated: bool) -> None:
    text = card_of(tmp_path, simulated=simulated)
    assert ("are simulated themselves" in text) == simulated
    assert f"a generative model that was trained on {'simulated' if simulated else 'real'} images." in text
    assert "which does not prove that there is none. Not for diagnosis." in text
    assert ("`sha256sum FILE`" in text) != simulated
    assert "None shows a patient" not in text


@pytest.mark.parametrize(
    ("store", "simulated", "said"),
    [
        (DATA, False, None),
        ("e" * 64, False, "learned from other images, which are not listed."),
        ("e" * 64, True, "learned from simulated images, which show no patient."),
    ],
)
def test_images_that_a_parent_alone_learned_from_are_said_to_be_missing(tmp_path: Path, store, simulated, said) -> None:
    parent = {"weights_sha256": "b" * 64, "store_sha256": store, "images_seen": 5, "simulated": simulated}
    samples = make_samples() | {"checkpoint_info": CHECKPOINT | {"parents": {"initial": parent}}}
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert ("Its initial, a generator before it, learned from" in text) == (said is not None)
    assert said is None or f"Its initial, a generator before it, {said}" in text


ACCURATE = "accuracy;pathology=normal;0.8;0.7;0.9;1.0;50;50;True;;"
WEAK = "accuracy;pathology=nodule;0.31;0.2;0.4;0.95;50;50;True;;"
UNREAD = "reader inadequate: balanced accuracy 0.52"


def test_the_first_section_names_the_classes_that_are_not_followed(tmp_path: Path) -> None:
    text = card_of(tmp_path, ACCURATE, WEAK)
    first = text.partition("## What is here")[0]
    assert "**Not followed: nodule (0.31, real images 0.95).**" in first and "Not known" not in first
    assert "Read as asked at least 0.8 times as often as on real images: normal." in first
    assert "Read as asked at least 0.8 times as often as on real images: normal." in card_of(tmp_path, ACCURATE)
    assert "Whether the images follow the pathology that was asked for is not known." in card_of(tmp_path)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        *(
            (of, "**Not known: nodule.** The predictor reads less")
            for of in ("0;0;0;0.0", "0.4;0.3;0.5;0.4", "0.9;0.8;1;")
        ),
        (";;;0.9", "Not asked for: nodule."),
    ],
)
def test_a_class_that_is_not_read_on_real_images_or_was_not_asked_for_is_said(tmp_path: Path, of: str, said) -> None:
    text = card_of(tmp_path, ACCURATE, f"accuracy;pathology=nodule;{of};5;6;True;;")
    assert f"Read as asked at least 0.8 times as often as on real images: normal. {said}" in text


KID = "kid;all;{};{};{};0.01;50;50;False;;a_net"


def test_it_is_said_first_whether_the_images_can_be_told_from_real_ones(tmp_path: Path) -> None:
    apart = card_of(tmp_path, KID.format(0.2, 0.1, 0.3)).partition("## What is here")[0]
    assert "**The images as a whole can be told from real ones**: `kid` 0.2 (0.1 to 0.3), held-out real" in apart
    assert "the images as a whole are not told from real ones" in card_of(tmp_path, KID.format(0.02, 0.005, 0.03))
    for rows in ((), (KID.format("", "", ""),)):
        assert "can be told from real ones was not measured" in card_of(tmp_path, *rows)


def test_insufficient_gates_are_said_first(tmp_path: Path) -> None:
    text = card_of(tmp_path).partition("## Read this first ")[2]
    assert text.startswith(
        "**Too little to tell by the gate fidelity (12 subjects, needs 50).** The images were released"
    )
    samples = make_samples()
    samples["gates"] = samples["gates"][samples["gates"]["result"] == "pass"]
    release(AS_PNG, make_store(), **samples, out=tmp_path / "passed")
    assert "All gates passed: integrity and copies." in (tmp_path / "passed/README.md").read_text()


def test_a_class_whose_check_was_off_and_kept_images_that_read_as_another_are_counted(tmp_path: Path) -> None:
    samples = make_samples()
    why = "18 validation images, needs 19"
    samples["verdicts"]["misread_check"] = ["on", f"off: {why}"] * 2  # in turn of a nodule and a normal image
    samples["verdicts"]["predicted_pathology"] = "nodule"
    release(AS_PNG, make_store(), **samples, out=tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert f"**The check for misread samples was off for normal ({why}).**" in text.partition("## What is here")[0]
    assert "| normal | 2 | 1 | 1 | 1 |" in text and "| nodule | 2 | 2 | 0 | 0 |" in text
    assert "The check for misread samples, described below, was on for every pathology." in card_of(tmp_path)


def test_a_number_that_rests_on_a_predictor_that_cannot_read_is_said_first(tmp_path: Path) -> None:
    text = card_of(tmp_path, ACCURATE, f"rank_correlation;severity;0.1;0;0.2;0.15;50;50;True;{UNREAD};")
    first = text.partition("## What is here")[0]
    assert "**The predictor cannot read severity on held-out real images.**" in first
    assert "Read as asked at least 0.8 times as often as on real images: normal." in first
    assert "| 0.15 | 50 | 50 | higher | reader inadequate: balanced accuracy 0.52 |" in text


def test_no_verdict_rests_on_a_predictor_that_cannot_read_the_label(tmp_path: Path) -> None:
    text = card_of(tmp_path, f"accuracy;pathology;0.9;0.8;1;0.5;50;50;True;{UNREAD};", WEAK)
    assert "cannot read pathology on held-out real images" in text
    assert "**No image was checked to show the pathology that it was asked for:** its label is unverified." in text
    assert "here `kept` means that no copy was found, and no more." in text
    assert "Not followed" not in text and "passed" not in text
    assert "Whether the images follow the pathology that was asked for is not known." in text


def test_the_recall_of_the_screening_stands_in_one_table(tmp_path: Path) -> None:
    text = card_of(tmp_path, ACCURATE)
    assert "No copies were planted in this run, so which share the screening finds is not known." in text
    card_of(tmp_path, "copy_recall;turned 5°;0.98;0.9;1;;0;60;True;;", "copy_recall;mirrored;1;0.94;1;;0;60;True;;")
    first = (tmp_path / "out/README.md").read_text().partition("## What is here")[0]
    assert "| turned 5° | 0.98 | 0.9 to 1 | 60 |  |\n| mirrored | 1 | 0.94 to 1 | 60 |  |\n" in first


def test_licence_and_source_are_printed(tmp_path: Path) -> None:
    stated = as_files(formats=("png",), licence="CC BY | 4.0", citation="Doe | Roe\n2020, https://doi.org/10.1/x")
    text = card_of(tmp_path, settings=stated)
    assert "| licence | CC BY &#124; 4.0 |" in text
    assert "| source of the training images, to be cited | Doe &#124; Roe 2020, https&#58;//doi.org/10.1/x |" in text


NASTY = (
    "a|b",
    "[x](http://evil.example)",
    "![p](//evil.example/p.png)",
    "<script>alert(1)</script>",
    "`code`",
    "line\nbreak\r\n# heading",
    "*b* _i_ ~s~ $x$ @who :smile: www.evil.example &amp \\|",
    "one_word_name",
)


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_shown_letter_by_letter(name: str) -> None:
    shown = plain(name)
    assert html.unescape(shown) == " ".join(name.split())
    left = re.sub(r"&#\d+;", "", shown)  # CommonMark 6.2: a character reference is never markup
    assert not set(left) & set("|[]<>`*~$@\\&!#\n\r")
    assert not re.search(r":\S|www\.|(^|\W)_|_(\W|$)", left)


def test_a_direction_of_writing_does_not_act() -> None:
    assert plain("nodule\u202elamron\x1b[1m") == "nodule\ufffdlamron\ufffd&#91;1m"


@pytest.mark.parametrize("name", NASTY)
def test_classes_and_notes_of_any_name_leave_the_card_as_it_is_built(tmp_path: Path, name: str) -> None:
    def text_of(name: str) -> str:
        samples = make_samples()
        samples["rows"]["pathology"] = [name, "zz"] * 2
        shown = " ".join(name.split())
        rows = (
            f"accuracy;pathology={shown};0.1;0;0.2;0.9;5;5;True;{shown};",
            f"copy_recall;{shown};0.9;0.8;1;;0;9;True;{shown};",
            f"mean_dice;{shown};0.9;0.8;1;;0;9;True;{UNREAD} {shown};",
        )
        release(AS_PNG, make_store(), **(samples | {"metrics": metrics(*rows)}), out=tmp_path / "out")
        return (tmp_path / "out/README.md").read_text()

    placed = [line.replace(plain(name), "NAME") for line in text_of(name).splitlines()]
    plainly = [line.replace("harmless", "NAME") for line in text_of("harmless").splitlines()]
    assert placed == plainly and sum("NAME" in line for line in placed) >= 5


def test_a_plan_by_kept_samples_says_what_lacks_and_what_is_surplus(tmp_path: Path) -> None:
    store, samples = make_store(), make_samples()
    store.samples["pathology"] = "nodule"  # 2 of them in training
    samples["verdicts"].loc[samples["verdicts"]["sample_id"] == "toy-diffusion-000003", "verdict"] = "surplus"
    asked = Oversample(kind="oversample", column="pathology", minimum=3, limit=2)
    release(as_files(formats=("png",), oversample=asked), store, **samples, out=tmp_path / "out")
    text = " ".join((tmp_path / "out/README.md").read_text().split())
    assert "**Too few samples were kept of normal (2 of 3)**" in text
    assert "Surplus samples, 1 of them" in text and "| nodule | 2 | 1 | 0 | 0 | 1 |" in text
    rejected = (tmp_path / "out/rejected.csv").read_text()
    assert "toy-diffusion-000003" in rejected and "surplus" in rejected
    assert not (tmp_path / "out/images/toy-diffusion-000003.png").exists()


def test_utility_is_a_table_of_its_own_and_not_shown_unless_its_gate_passes(tmp_path: Path) -> None:
    assert "Utility: not measured." in card_of(tmp_path)
    gain = "utility_auroc_gain;all;0.021;-0.03;0.07;;60;200;;real + 1 x synthetic over real, duplicated;"
    text = card_of(tmp_path, gain)
    assert "**Utility not shown**, by the gate `utility`." in text
    assert "| utility_auroc_gain | all | real + 1 x synthetic over real, duplicated | 0.021 | -0.03 to 0.07 |" in text
    assert text.count("utility_auroc_gain") == 1
    samples = make_samples() | {"metrics": metrics(gain)}
    samples["gates"] = pd.concat([samples["gates"], pd.DataFrame([row("utility", PASS, "utility_auroc_gain")])])
    release(AS_PNG, make_store(), **samples, out=tmp_path / "shown")
    assert "Utility was shown, by the gate `utility`." in (tmp_path / "shown/README.md").read_text()


def test_groups_of_people_have_a_table_of_their_own(tmp_path: Path) -> None:
    few = "insufficient: 5 test subjects and 40 samples, needs 20 of each"
    rows = (
        "subgroup_accuracy;sex=female;0.75;0.6;0.87;0.8;25;40;True;;",
        f"subgroup_accuracy;sex=male;0.25;0.1;0.4;1.0;5;40;True;{few};",
        "subgroup_kid;sex=female;0.11;0.1;0.2;0.01;25;40;False;;a_net",
    )
    text = card_of(tmp_path, *rows)
    assert "| sex=female | 0.75 | 0.6 to 0.87 | 0.8 | 0.11 | 0.1 to 0.2 | 0.01 | 25 | 40 | |" in text
    assert f"| sex=male | 0.25 | 0.1 to 0.4 | 1 | | | | 5 | 40 | {few} |" in text
    assert "| subgroup_accuracy |" not in text
    assert "no condition is a group of people" in card_of(tmp_path)


def test_what_the_weights_give_away_is_said_in_the_words_of_the_audit(tmp_path: Path) -> None:
    assert "Membership inference: not measured." in card_of(tmp_path)
    text = card_of(
        tmp_path,
        "membership_auc;all;0.61;0.55;0.67;0.5;80;300;False;;",
        "membership_p_value;all;0.001;;;0.4;80;300;;training subjects are told from held-out ones: p = 0.001;",
    )
    assert "Membership inference: training subjects are told from held-out ones: p = 0.001. Its AUC is 0.61" in text
    assert "(0.55 to 0.67), of held-out subjects alone 0.5." in text and "membership_p_value" not in text
