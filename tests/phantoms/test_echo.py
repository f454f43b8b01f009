"""Known answers of pulse-echo imaging."""

import numpy as np
import pytest

from medsynth.phantoms import echo

HEIGHT_CM = 4.0


def scanner(**changes: float) -> echo.Scanner:
    settings = {
        "axial_cm": 0.03,
        "lateral_cm": 0.05,
        "focus_cm": 2.0,
        "focal_zone_cm": 1.0,
        "looks": 1,
        "smoothing_cm": 0.0,
        "noise_db": -200.0,
        "gain_db": 0.0,
        "range_db": 60.0,
    }
    return echo.Scanner(**(settings | changes))


def rows_of(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n * HEIGHT_CM


def speckle(seed: int, n: int = echo.FINE, **changes: float) -> np.ndarray:
    field = echo.draw_scatterers(np.random.default_rng(seed), n)
    return echo.insonified(field, scanner(**changes), rows_of(n), HEIGHT_CM, np.full(n, HEIGHT_CM))


def test_the_beam_is_narrowest_at_its_focus_and_wider_by_root_two_at_the_end_of_its_zone():
    width = scanner().beam_width(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(width / 0.05, [np.sqrt(2), 1, np.sqrt(2)])


def test_fully_developed_speckle_is_rayleigh_distributed():
    inner = np.concatenate([np.abs(speckle(seed))[16:-16, 16:-16].ravel() for seed in range(6)])
    assert (inner**2).mean() == pytest.approx(1, rel=0.05)
    assert inner.mean() / inner.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.03)  # 1.91
    assert np.quantile(inner, 0.5) == pytest.approx(np.sqrt(np.log(2)), rel=0.04)


def test_speckle_is_coarser_across_away_from_the_focus():
    def length(rows: np.ndarray) -> float:
        """Correlation between places 0.06 cm apart."""
        return float(np.abs((rows[:, 4:] * rows[:, :-4].conj()).mean()) / (np.abs(rows) ** 2).mean())

    fields = np.concatenate([speckle(seed, lateral_cm=0.03, focal_zone_cm=0.6) for seed in range(4)], 1)
    near, focus = fields[16:32], fields[120:136]
    assert length(near) > length(focus) + 0.3


def test_both_grids_show_the_same_scatterers():
    coarse, fine = (echo.draw_scatterers(np.random.default_rng(3), n) for n in (echo.COARSE, echo.FINE))
    np.testing.assert_allclose(fine.reshape(128, 2, 128, 2).mean((1, 3)), coarse / 2, atol=1e-6)
    for grid in (coarse, fine):
        assert (np.abs(grid) ** 2).mean() == pytest.approx(1, rel=0.03)


def test_the_way_to_a_depth_and_back_costs_twice_its_attenuation():
    loss = echo.travelled(np.full((100, 2), 5.0), 0.04)  # 4 cm of 5 dB/cm
    assert loss[-1, 0] == pytest.approx(2 * 5 * 4 * (99.5 / 100))
    assert loss[0, 1] == pytest.approx(2 * 5 * 0.02)


def test_log_compression_sends_the_range_to_black_and_one_to_white():
    greys = echo.compressed(np.array([10.0, 1.0, 10**-1.5, 1e-3, 0.0]), 60)
    np.testing.assert_allclose(greys, [1, 1, 0.5, 0, 0], atol=1e-6)


def frame(echo_db: float, seed: int = 0, **changes: float) -> np.ndarray:
    n = echo.COARSE
    level, silence = np.full((n, n), echo_db, np.float32), np.full((n, n), -120, np.float32)
    nothing = np.zeros((n, n), np.float32)
    return echo.b_mode(
        np.random.default_rng(seed),
        scanner(**changes),
        level,
        silence,
        np.zeros(n, np.float32),
        nothing,
        HEIGHT_CM,
        np.full(n, HEIGHT_CM),
    )


def test_a_weaker_echo_is_darker_by_its_share_of_the_range():
    strong, weak = frame(-20.0), frame(-32.0)
    assert strong.mean() - weak.mean() == pytest.approx(12 / 60, abs=0.01)


def test_looks_and_the_filter_smooth_speckle():
    one, many, filtered = frame(-20.0), frame(-20.0, looks=4), frame(-20.0, smoothing_cm=0.1)
    assert many.std() < 0.65 * one.std()
    assert filtered.std() < 0.65 * one.std()


def test_without_echoes_there_is_electronic_noise():
    assert frame(-100.0, noise_db=-30.0).mean() == pytest.approx(frame(-30.0).mean(), abs=0.01)
