import numpy as np
import pandas as pd
import pytest

from medsynth.config import Evaluation
from medsynth.config.evaluation import MISREAD_LEVEL
from medsynth.evaluate.checks import Checks, beyond, requested_probability
from medsynth.evaluate.copy_limits import CopyLimits


def checks(reject_misread: bool = True, of_real: int = 99, inadequate: str = "") -> Checks:
    """Real images of class "a" are given 0.5 to 1, evenly; there is one of class "b"."""
    probability = np.append(np.linspace(0.5, 1, of_real), 0.1)
    return Checks.from_validation(
        copies=CopyLimits.from_validation(
            {"whole": np.linspace(0, 0.9, of_real + 1), "parts": np.linspace(0, 0.45, of_real + 1)}, 100, 0.9
        ),
        label=np.array(["a"] * of_real + ["b"]),
        probabilities=np.stack([probability, 1 - probability], 1),
        values=("a", "b"),
        evaluation=Evaluation(reject_misread=reject_misread),
        inadequate=inadequate,
    )


def judge(
    checks: Checks, asked: str, read: str, probability: float, similarity: float, parts: float = 0.0
) -> tuple[str, str]:
    row = [np.array([x]) for x in (asked, read, probability)]
    likeness = {"whole": np.array([similarity]), "parts": np.array([parts])}
    return tuple(checks.judge(*row, likeness)[["verdict", "reason"]].iloc[0])


def test_copies_are_rejected_without_naming_what_they_copy() -> None:
    # Of 100 validation images the 96th, so that 5 of 100 are above each limit or at it, and 10 of 100 above either.
    assert checks().copies.above == pytest.approx({"whole": 95 / 99 * 0.9, "parts": 95 / 99 * 0.45})
    assert judge(checks(), "a", "a", 0.9, 0.85) == ("kept", "")
    assert judge(checks(), "a", "a", 0.9, 0.97) == ("rejected", "likeness to a training image 0.970 > 0.864")
    reason = "likeness of parts to a training image 0.500 > 0.432"
    assert judge(checks(), "a", "a", 0.9, 0.85, 0.5) == ("rejected", reason)


def test_misread_needs_another_class_and_an_unusual_probability() -> None:
    assert judge(checks(), "a", "b", 0.4, 0)[0] == "rejected"
    assert "read as b, asked a" in judge(checks(), "a", "b", 0.4, 0)[1]
    assert judge(checks(), "a", "a", 0.4, 0)[0] == "kept"
    assert judge(checks(), "a", "b", 0.6, 0)[0] == "kept"
    assert judge(checks(reject_misread=False), "a", "b", 0.4, 0)[0] == "kept"


def test_both_reasons_are_given() -> None:
    assert judge(checks(), "a", "b", 0.4, 1.0)[1].count(";") == 1


def test_too_few_real_images_reject_nothing() -> None:
    assert judge(checks(), "b", "a", 0.0, 0)[0] == "kept"
    assert judge(checks(of_real=18), "a", "b", 0.0, 0)[0] == "kept"
    assert judge(checks(of_real=19), "a", "b", 0.0, 0)[0] == "rejected"


def test_where_the_check_is_off_it_says_why() -> None:
    assert checks().off == {"b": "1 validation images, needs 19"}
    assert checks(of_real=18).off.keys() == {"a", "b"} and "a" not in checks(of_real=19).off
    asked = np.array(["a", "b", ""])
    rows = asked, np.array(["b", "a", "a"]), np.zeros(3), {"whole": np.zeros(3), "parts": np.zeros(3)}
    judged = checks().judge(*rows)
    assert judged["misread_check"].tolist() == ["on", "off: 1 validation images, needs 19", "on"]
    assert judged["verdict"].tolist() == ["rejected", "kept", "kept"]
    judged = checks(inadequate="reader inadequate: x").judge(*rows)
    assert judged["misread_check"].tolist()[:2] == ["off: reader inadequate: x"] * 2
    assert judged["verdict"].tolist() == ["kept"] * 3
    assert set(checks(reject_misread=False).off.values()) == {"reject_misread is false"}


def test_conformity_by_hand() -> None:
    conformity = checks(of_real=3).conformity(np.array(["a", "a", "a", ""]), np.array([0.4, 0.75, 1.0, 1.0]))
    np.testing.assert_allclose(conformity, [1 / 4, 3 / 4, 1, 1])


def test_a_real_image_is_rejected_at_most_at_the_stated_level() -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(200):
        validation, new = rng.random((2, 60)) ** 3
        row = np.stack([validation, 1 - validation], 1)
        unlike = CopyLimits({"whole": 0.0, "parts": 0.0})
        judged = Checks.from_validation(unlike, np.full(60, "a"), row, ("a", "b"), Evaluation())
        rates.append((judged.conformity(np.full(60, "a"), new) <= MISREAD_LEVEL).mean())
    assert 0.02 < np.mean(rates) <= MISREAD_LEVEL + 0.01


def test_requested_probability() -> None:
    asked = np.array(["b", "a", "", "n/a"])
    probabilities = np.array([[0.3, 0.7]] * 4)
    assert requested_probability(asked, probabilities, ("a", "b")).tolist() == [0.7, 0.3, 1, 1]


def test_kept_samples_beyond_those_that_are_wanted_are_surplus():
    asked = np.array(["a", "a", "b", "a", "a", "b", "c"])
    verdict = ["kept", "rejected", "kept", "kept", "kept", "kept", "kept"]
    judged = pd.DataFrame({"verdict": verdict, "reason": ["", "a copy", "", "", "", "", ""]})
    left = beyond(judged, asked, {"a": 2, "b": 0})
    assert left["verdict"].tolist() == ["kept", "rejected", "surplus", "kept", "surplus", "surplus", "kept"]
    assert left["reason"][1] == "a copy" and left["reason"][4] == "the plan needs no more than 2 of a"
    assert beyond(judged, asked, {}).equals(judged)
