"""Whole subjects are drawn, and an interval holds what lies between its quantiles."""

import numpy as np

from medsynth.judges.resampling import percentile_interval, subject_draws


def test_the_images_of_a_subject_are_drawn_together_and_as_many_subjects_as_there_are():
    subjects = np.array(["b", "a", "b", "c"])
    drawn = list(subject_draws(subjects, 200, seed=0))
    for rows in drawn:
        counts = np.bincount(rows, minlength=4)
        assert counts[0] == counts[2] and counts[0] + counts[1] + counts[3] == 3
    assert {len(rows) for rows in drawn} == {3, 4, 5, 6}
    again = subject_draws(subjects, 200, seed=0)
    assert all(np.array_equal(rows, others) for rows, others in zip(drawn, again, strict=True))


def test_an_interval_leaves_out_what_is_not_defined():
    low, high = percentile_interval(np.array([*np.linspace(0, 1, 1001), np.nan]))
    assert (round(low, 3), round(high, 3)) == (0.025, 0.975)
    assert np.isnan(percentile_interval(np.full(3, np.nan))).all()
