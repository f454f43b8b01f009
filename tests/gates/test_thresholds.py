"""Every line against its bound, by hand; and what is too little to tell."""

import math

import pytest

from medsynth import registry
from medsynth.config import Config, load, parse
from medsynth.config.gates import NOT_ENFORCED, RECALL, Gate, Gates, Threshold, metric_names
from medsynth.errors import InputError
from medsynth.gates.thresholds import bounds, judge
from medsynth.judges.planted import WANTED
from tests.conditions.toys import FIELDS
from tests.gates.toys import NAN, metrics
from tests.workflow.conftest import ROOT

NO_REASON = "expected the reason for the waiver, in words"
KID = ("kid", "all", 0.4, 0.1, 60, 600, NAN)


def result(threshold: Threshold, *lines: tuple, subjects: int = 60, samples: int = 600, **gate) -> list[tuple]:
    """(group, result, note) of each line of gates.csv."""
    table = metrics(*lines)
    table["note"] = table["note"].fillna("")
    of = Gate(thresholds=(threshold,), **gate)
    judged = judge("g", of, table, tuple(registry.METRICS), {"{label}": ["look"]}, subjects, samples)
    return [(line["group"], line["result"], line["note"]) for line in judged]


@pytest.mark.parametrize(
    ("bound", "passes"),
    [
        ({"at_most": 0.4}, True),
        ({"at_most": 0.39}, False),
        ({"at_least": 0.4}, True),
        ({"at_least": 0.41}, False),
        ({"most_over_floor": 0.31}, True),
        ({"most_over_floor": 0.29}, False),
        ({"least_share_of_floor": 3.9}, True),
        ({"least_share_of_floor": 4.1}, False),
        ({"at_least": 0, "at_most": 0.3}, False),
    ],
)
def test_a_value_at_its_bound_passes_and_one_beyond_fails(bound: dict, passes: bool) -> None:
    threshold = Threshold(metric="kid", **bound, allow_for_chance=False)
    assert result(threshold, KID) == [("all", "pass" if passes else "fail", "")]


def test_a_value_whose_interval_reaches_the_bound_tells_too_little_to_fail() -> None:
    said = "kid is 0.4 (0.3 to 0.5), expected at most 0.35: its interval reaches that"
    assert result(Threshold(metric="kid", at_most=0.35), KID) == [("all", "insufficient", said)]
    assert result(Threshold(metric="kid", at_most=0.29), KID) == [("all", "fail", "")]
    assert result(Threshold(metric="kid", at_least=0.51), KID) == [("all", "fail", "")]


@pytest.mark.parametrize(
    ("bound", "found"), [(0.29, "pass"), (0.31, "insufficient"), (0.49, "insufficient"), (0.51, "fail")]
)
def test_a_bound_on_the_whole_interval_is_met_by_its_lower_end(bound: float, found: str) -> None:
    threshold = Threshold(metric="kid", at_least=bound, whole_interval=True)
    [(_, result_of, note)] = result(threshold, KID)  # 0.3 to 0.5
    assert result_of == found
    assert (f"expected at least {bound} with its whole interval: its interval" in note) == (found == "insufficient")


def test_a_value_without_an_interval_meets_no_bound_on_it() -> None:
    table = metrics(KID).assign(ci_low=NAN, note="")
    gate = Gate(thresholds=(Threshold(metric="kid", at_least=0, whole_interval=True),))
    [line] = judge("g", gate, table, ("kid",), {}, 60, 600)
    assert (line["result"], line["note"]) == ("insufficient", "kid: no interval")


def test_the_narrower_of_two_bounds_holds() -> None:
    both = Threshold(metric="kid", at_most=1, most_over_floor=0.5, at_least=0, least_share_of_floor=0.5)
    assert bounds(both, 0.1) == (0.05, 0.6) and bounds(both, 2.0) == (1.0, 1.0)
    assert bounds(Threshold(metric="kid", at_most=1), NAN) == (-math.inf, 1)


def test_groups_are_patterns_and_the_label_has_its_own_name() -> None:
    lines = [("accuracy", group, 0.6, 0.9, 30, 30, NAN) for group in ("look", "look=a", "look=b", "sex", "sex=f")]
    of_classes = Threshold(metric="accuracy", groups=("{label}=*",), at_least=0.5)
    assert [group for group, *_ in result(of_classes, *lines)] == ["look=a", "look=b"]
    of_label = Threshold(metric="accuracy", groups=("{label}", "sex"), at_least=0.5)
    assert [group for group, *_ in result(of_label, *lines)] == ["look", "sex"]


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"subjects": 12}, "12 subjects, needs 50"),
        ({"samples": 80}, "80 samples, needs 100"),
        ({"line": ("kid", "all", NAN, NAN, 9, 600, "9 subjects: needs 20")}, "kid: 9 subjects: needs 20"),
        ({"line": ("kid", "all", 0.4, NAN, 0, 600, NAN)}, "kid: no floor"),
        ({"line": ("kid", "all", 0.4, 0.1, 19, 600, NAN)}, "kid: 19 test images, needs 20"),
        ({"line": ("kid", "all", 0.4, 0.1, 60, 19, NAN)}, "kid: 19 synthetic images, needs 20"),
        ({"line": ("kid", "all", 0.4, 0.04, 60, 60, NAN)}, "kid: 0.04 on real images, needs 0.05"),
        (
            {"line": ("kid", "all", 0.4, 0.1, 60, 600, "weighted; reader inadequate: 0.2")},
            "kid: reader inadequate: 0.2",
        ),
    ],
)  # fmt: skip
def test_too_little_to_tell_is_insufficient_even_where_the_bound_is_missed(given: dict, note: str) -> None:
    line = given.pop("line", KID)
    threshold = Threshold(metric="kid", at_most=0, most_over_floor=-1, least_floor=0.05)
    assert result(threshold, line, **given) == [("all", "insufficient", note)]


def test_recall_of_planted_copies_needs_no_real_images() -> None:
    planted = Threshold(metric="copy_recall", groups=("exact",), at_least=0.95, fewest=50, allow_for_chance=False)
    assert result(planted, ("copy_recall", "exact", 0.9, NAN, 0, 60, NAN)) == [("exact", "fail", "")]
    of_judge = planted.model_copy(update={"of_judge": True})
    [(_, found, note)] = result(of_judge, ("copy_recall", "exact", 0.9, NAN, 0, 60, NAN))
    assert found == "insufficient" and note.endswith("is 0.9, expected at least 0.95: the judge is not adequate")
    assert result(of_judge, ("copy_recall", "exact", 0.96, NAN, 0, 60, NAN)) == [("exact", "pass", "")]
    [(_, found, note)] = result(planted, ("copy_recall", "exact", 0.9, NAN, 0, 8, NAN))
    assert (found, note) == ("insufficient", "copy_recall of exact: 8 images, needs 50")


def test_what_was_not_measured_is_insufficient_and_what_a_dataset_has_not_does_not_apply() -> None:
    severity = {"metric": "rank_correlation", "groups": ("severity",), "at_least": 0.7}
    [(_, found, note)] = result(Threshold(**severity), KID)
    assert (found, note) == ("insufficient", "rank_correlation of severity was not measured")
    assert result(Threshold(**severity, required=False), KID) == []
    gate = Gate(thresholds=(Threshold(**severity, required=False),))
    [line] = judge(
        "g", gate, metrics(KID), ("kid",), {"{label}": ["look"]}, 60, 600
    )  # adherence is not measured at all
    assert line["result"] == "insufficient"


def test_every_line_that_metrics_csv_can_have_can_be_named() -> None:
    for kind, entry in registry.CONDITIONS.items():
        named = [statistic.name for statistic in entry.load()("x", FIELDS[kind], 2).statistics]
        assert tuple(named) == entry.load_settings().statistics, kind
    assert {"accuracy", "kid", "mean_dice", "copy_recall"} <= set(metric_names()) and "adherence" not in metric_names()


def test_the_copies_that_must_be_found_are_those_that_the_limits_are_set_by() -> None:
    assert RECALL == WANTED


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (
            {"fidelity": {"thresholds": [{"metric": "kidd", "at_most": 1}]}},
            "gates.fidelity.thresholds.0.metric: unknown metric 'kidd', did you mean 'kid'?, got 'kidd'",
        ),
        (
            {"fidelity": {"thresholds": [{"metric": "kid"}]}},
            "gates.fidelity.thresholds.0: kid has no bound, expected one of at_least, at_most, least_share_of_floor, "
            "most_over_floor",
        ),
        ({"anatomy": {"thresholds": []}}, "gates.anatomy.thresholds: no threshold, expected at least one, got []"),
        ({"diversity": {"waived": " "}}, f"gates.diversity.waived: {NO_REASON}, got ' '"),
        ({"diversity": {"waived": True}}, f"gates.diversity.waived: {NO_REASON}, got True"),
        ({"copies": {"waived": "x"}}, "gates: copies is fixed: it has no thresholds here and is never waived"),
        ({"lineage": {}}, "gates: lineage is fixed: it has no thresholds here and is never waived"),
        (
            {"utility": {"targeted": "nodul"}},
            "top level: unknown class in gates.utility.targeted 'nodul', did you mean 'nodule'?",
        ),
        ({"fidelty": {}}, "gates: unknown key 'fidelty', did you mean 'fidelity'?"),
    ],
)  # fmt: skip
def test_a_bad_gate_is_one_line(gates: dict, said: str) -> None:
    values = load(ROOT / "config/tiny.yaml").model_dump(mode="json", exclude_unset=True) | {"gates": gates}
    with pytest.raises(InputError) as raised:
        parse(Config, values, "config")
    assert str(raised.value) == f"config: {said}"


def test_a_waiver_keeps_the_thresholds_of_its_gate() -> None:
    values = load(ROOT / "config/tiny.yaml").model_dump(mode="json", exclude_unset=True)
    waived = parse(Config, values | {"gates": {"diversity": {"waived": "a demo"}}}, "config").judge("tiny")
    assert waived.gates["diversity"].waived == "a demo"
    assert (
        waived.gates["diversity"].thresholds
        == parse(Config, values, "config").judge("tiny").gates["diversity"].thresholds
    )
    lenient = parse(Config, values | {"gates": {"enforce": False}}, "config").judge("tiny").gates
    assert {name for name, gate in lenient.items() if gate.waived == NOT_ENFORCED} == set(lenient) - {"copies"}
    strict = parse(Config, values | {"gates": {}}, "config").judge("tiny").gates  # as by default
    assert [gate.waived for gate in strict.values()] == [None] * len(strict)
    order = ["reconstruction", "fidelity", "diversity", "adherence", "anatomy", "shortcut", "copies"]
    assert list(waived.gates) == order
    assert "utility_auroc_gain" not in waived.measured
    worth = parse(Config, values | {"utility": {}, "gates": {"utility": {"targeted": "nodule"}}}, "config").judge(
        "tiny"
    )
    assert list(worth.gates)[-2:] == ["utility", "copies"] and worth.targeted == "nodule"
    assert {"kid", "utility_auroc_gain", "utility_recall_gain"} <= set(worth.measured)
    audited = parse(Config, values | {"membership": {}}, "config").judge("tiny")
    assert list(audited.gates)[-2:] == ["membership", "copies"] and "canary_auc" in audited.measured


def test_a_reconstruction_is_nearer_than_a_training_image_and_families_without_one_have_no_line() -> None:
    gate, measured = Gates().reconstruction, ("psnr", "ssim", "kid")
    table = metrics(("psnr", "all", 21.0, 18.0, 60, 600, NAN), ("ssim", "all", 0.4, 0.9, 60, 600, NAN)).fillna(
        {"note": ""}
    )
    found = {
        line["metric"]: line["result"] for line in judge("g", gate, table, measured, {"{label}": ["look"]}, 60, 600)
    }
    assert found == {"psnr": "pass", "ssim": "fail"}
    assert list(judge("g", gate, metrics(KID), measured, {"{label}": ["look"]}, 60, 600)) == []
