import numpy as np
import pytest
from scipy.linalg import sqrtm

from medsynth.evaluate.fidelity import class_weights, fid, jackknife_interval, kid, kid_interval, of_one_mixture


def kid_by_loops(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / len(x) + 1) ** 3

    def within(x: np.ndarray) -> float:
        return np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])

    return within(a) + within(b) - 2 * np.mean([kernel(x, y) for x in a for y in b])


def test_kid_is_equation_4_summed_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(7, 4)) + 0.5
    assert kid(a, b) == pytest.approx(kid_by_loops(a, b), rel=1e-12)


def test_kid_agrees_with_the_reference_script() -> None:
    # The reference script's `kid` on torch tensors of the same arrays:
    #   r = np.random.default_rng(1); a = r.normal(size=(30, 8)); b = r.normal(size=(20, 8)) + .5
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(30, 8)), rng.normal(size=(20, 8)) + 0.5
    assert kid(a, b) == pytest.approx(1.065015232419381, rel=1e-12)


def test_kid_of_one_source_is_zero_on_average() -> None:
    rng = np.random.default_rng(2)
    values = [kid(rng.normal(size=(40, 6)), rng.normal(size=(30, 6))) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)


def test_fid_is_that_of_matrix_square_roots_for_few_and_for_many_rows() -> None:
    rng = np.random.default_rng(3)
    for n, m in ((50, 70), (50, 3), (4, 60), (4, 3)):
        a, b = rng.normal(size=(n, 5)), rng.normal(size=(m, 5)) @ rng.normal(size=(5, 5)) + 1
        s, t = np.cov(a.T), np.cov(b.T)
        # tr (S T)^(1/2) = tr (S^(1/2) T S^(1/2))^(1/2), whose eigenvalues are real and not negative
        root = np.real(sqrtm(s + 1e-13 * np.eye(5)))
        cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ t @ root), 0)).sum()
        expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * cross
        assert fid(a, b) == pytest.approx(expected, abs=1e-4)


def test_fid_of_gaussians_reaches_its_closed_form() -> None:
    rng = np.random.default_rng(4)
    scale_a, scale_b, shift = np.array([1.0, 2.0, 0.5]), np.array([1.5, 1.0, 0.5]), np.array([1.0, 0.0, -1.0])
    a, b = rng.normal(size=(40_000, 3)) * scale_a, rng.normal(size=(40_000, 3)) * scale_b + shift
    assert fid(a, b) == pytest.approx((shift**2).sum() + ((scale_a - scale_b) ** 2).sum(), abs=0.1)


def clustered(rng: np.random.Generator, subjects: int, each: int, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Images of one subject share half of their variance."""
    own = np.repeat(rng.normal(size=(subjects, d)), each, axis=0)
    return np.sqrt(0.5) * (own + rng.normal(size=own.shape)), np.repeat(np.arange(subjects), each)


@pytest.mark.parametrize("metric", ["kid", "fid"])
@pytest.mark.parametrize("each", [1, 3])
def test_95_percent_intervals_hold_the_expected_value(metric: str, each: int) -> None:
    rng = np.random.default_rng(5)
    function = {"kid": kid, "fid": fid}[metric]
    pairs = []
    for _ in range(150):
        a, subjects = clustered(rng, 60 // each, each)
        pairs.append((a, rng.normal(size=(50, 8)) + 0.25, subjects))
    expected = np.mean([function(a, b) for a, b, _ in pairs])
    intervals = [
        kid_interval(a, b, s, 100, rng) if metric == "kid" else jackknife_interval(fid, a, b, s, rng)
        for a, b, s in pairs[:60]
    ]
    held = np.mean([low <= expected <= high for low, high in intervals])
    assert held >= 0.85
    # ... and are not so wide as to say nothing
    width = np.mean([high - low for low, high in intervals])
    assert width < 2 * 3.92 * np.std([function(a, b) for a, b, _ in pairs])


def test_intervals_widen_with_subjects_of_many_images() -> None:
    rng = np.random.default_rng(6)
    a, subjects = clustered(rng, 15, 8)
    b = rng.normal(size=(120, 8)) + 0.4

    def width(labels: np.ndarray) -> float:
        low, high = kid_interval(a, b, labels, 400, np.random.default_rng(0))
        return high - low

    assert width(subjects) > 1.2 * width(np.arange(len(a)))


def test_copies_in_the_draws_do_not_lift_the_interval() -> None:
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(40, 200)), rng.normal(size=(40, 200))
    low, high = kid_interval(a, b, np.arange(40), 400, rng)
    assert low < kid(a, b) < high


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(20, 1)), rng.normal(size=(20, 1)) * 2
    low, high = jackknife_interval(lambda x, y: float(x.mean() - y.mean()), a, b, np.arange(20), rng)
    error = np.sqrt(a.var(ddof=1) / 20 + b.var(ddof=1) / 20)
    assert (high - low) / 2 == pytest.approx(2.0930 * error, rel=1e-4)  # t(0.975, 19)
    assert (high + low) / 2 == pytest.approx(a.mean() - b.mean())


def test_interval_ends_at_the_bounds() -> None:
    a = np.arange(20.0)[:, None]
    interval = jackknife_interval(
        lambda x, y: float(x.mean()), a, a, np.arange(20), np.random.default_rng(0), (9.4, 9.6)
    )
    assert interval == (9.4, 9.6)


def test_classes_are_weighted_to_the_shares_of_the_real_images() -> None:
    real, synthetic = np.array(["a"] * 3 + ["b"]), np.array(["a", "b"] * 2)
    assert class_weights(real, np.tile(real, 2)) == (None, [])
    weights, notes = class_weights(real, synthetic)
    assert weights.tolist() == [1.5, 0.5, 1.5, 0.5] and notes == ["weighted to the class shares of the test images"]
    weights, notes = class_weights(np.append(real, "c"), np.array(["a", "d", "b"]))
    assert weights.tolist() == pytest.approx([9 / 5, 0, 3 / 5])
    assert notes[1:] == ["no synthetic image of c", "no test image of d"]


def test_every_set_of_a_distance_has_the_shares_of_the_real_images() -> None:
    real = np.array(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
    synthetic, training = np.array(["a", "b"] * 50), np.array(["b"] * 100 + ["a"] * 40 + ["c"] * 9)
    chosen, drawn, notes = of_one_mixture(real, [synthetic, training], 1000, np.random.default_rng(0))
    assert sorted(chosen) == list(range(90))  # no synthetic image is of c
    for labels, rows in zip((synthetic, training), drawn, strict=True):
        assert len(set(rows)) == len(rows) == 60
        assert [(labels[rows] == value).sum() for value in "ab"] == [40, 20]
    assert notes == ["60 of 100 synthetic images, in the class shares of the test images", "no synthetic image of c"]
    *_, none = of_one_mixture(real, [np.array(["d"] * 5), training], 1000, np.random.default_rng(0))
    assert none == ["no synthetic image of a, b, c", "no test image of d"]
    _, same, notes = of_one_mixture(real, [real, real], 1000, np.random.default_rng(0))
    assert len(same[0]) == 100 and notes == []


def test_a_distance_does_not_follow_the_plan_where_each_class_is_perfect() -> None:
    rng = np.random.default_rng(9)

    def features(labels: np.ndarray) -> np.ndarray:
        return rng.normal(size=(len(labels), 8)) + 2.0 * (labels == "b")[:, None]

    real, plan = rng.choice(["a", "b"], 400, p=[0.9, 0.1]), np.array(["a", "b"] * 200)
    x, y = features(real), features(plan)
    chosen, (drawn, _), _ = of_one_mixture(real, [plan, real], 1000, rng)
    assert kid(x, y) > 1 and abs(kid(x[chosen], y[drawn])) < 0.2
