import numpy as np
import pytest

from medsynth.config.families.diffusion import DiffusionSampler
from medsynth.errors import InputError
from medsynth.tune.score import Measured
from medsynth.tune.search import search

CANDIDATES = {"guidance": (1.5, 2.5), "autoguidance": (1.0, 3.0), "rho": (5.0,)}


def quality(badness: float, burnt: float = 0.0, spread: float = 0.05, seed: int = 0) -> Measured:
    """A measure that is known to `spread` of itself."""
    draws = badness * (1 + spread * np.random.default_rng(seed).normal(size=200))
    return Measured(np.concatenate([[badness], draws])[None], burnt)


def chosen(trials):
    return [trial for trial in trials if trial.taken][-1].sampler


def test_the_planted_best_is_found_key_by_key():
    def measure(sampler):
        return quality(1 + abs(sampler.guidance - 2.5) + abs(sampler.autoguidance - 1.0) + abs(sampler.rho - 7))

    trials = search(DiffusionSampler(), CANDIDATES, 18, measure)
    assert chosen(trials) == DiffusionSampler(guidance=2.5, autoguidance=1.0)
    assert [(trial.key, trial.value, trial.taken) for trial in trials] == [
        ("", None, True),
        ("guidance", 1.5, False),
        ("guidance", 2.5, True),
        ("autoguidance", 1.0, True),
        ("autoguidance", 3.0, False),
        ("rho", 5.0, False),
    ]
    assert trials[3].sampler.guidance == 2.5  # beside the best so far


@pytest.mark.parametrize(("better", "replaced"), [(0.01, False), (0.5, True)])
def test_a_setting_must_be_better_by_more_than_chance(better, replaced):
    def measure(sampler):
        changed = sampler != DiffusionSampler()
        return quality(1 - better * changed, seed=int(changed))  # noise of its own

    trials = search(DiffusionSampler(), {"guidance": (1.5,)}, 18, measure)
    assert (chosen(trials) != DiffusionSampler()) == replaced
    assert trials[1].gain[0] == pytest.approx(-np.log(1 - better))


def test_the_budget_counts_settings_beside_the_configured_one():
    seen = []

    def measure(sampler):
        seen.append(sampler)
        return quality(1)

    assert len(search(DiffusionSampler(), CANDIDATES, 3, measure)) == 4 and len(seen) == 4
    seen.clear()
    assert chosen(search(DiffusionSampler(), CANDIDATES, 0, measure)) == DiffusionSampler() and len(seen) == 1


@pytest.mark.parametrize(("worse", "yields"), [(1.1, True), (2.0, False)])
def test_a_burnt_out_setting_yields_to_one_that_is_a_little_worse_and_not_to_one_that_is_much(worse, yields):
    def measure(sampler):
        burnt = sampler.autoguidance == 2
        return quality(1.0 if burnt else worse, burnt=0.5 if burnt else 0.0, spread=0.01)

    trials = search(DiffusionSampler(), {"autoguidance": (3.0,)}, 18, measure)
    assert (chosen(trials).autoguidance == 3) == yields and trials[1].gain[0] < 0
    trials = search(DiffusionSampler(autoguidance=3), {"autoguidance": (2.0,)}, 18, measure)
    assert (chosen(trials).autoguidance == 3) == yields


def test_of_two_settings_that_burn_out_images_the_one_that_burns_half_as_many_may_be_a_little_worse():
    def measure(sampler):
        return quality(1.1, burnt=0.35) if sampler.solver == "euler" else quality(1.0, burnt=0.7)

    trials = search(DiffusionSampler(), {"solver": ("euler",)}, 18, measure)
    assert chosen(trials).solver == "euler" and trials[1].gain[0] < 0


def test_a_share_of_burnt_images_as_real_ones_have_it_makes_no_difference():
    def measure(sampler):
        return quality(1.0, burnt=0.01) if sampler.solver == "euler" else quality(1.0, burnt=0.09)

    assert chosen(search(DiffusionSampler(), {"solver": ("euler",)}, 18, measure)) == DiffusionSampler()


def test_what_cannot_be_sampled_is_passed_over_with_its_reason_but_for_the_configured_setting():
    def measure(sampler):
        if sampler.guidance == 2.5:
            raise InputError("samples are not finite")
        return quality(sampler.guidance)

    candidates = {"sigma_max": ((0.005,),), "guidance": (2.5, 0.5, 1.0)}
    trials = search(DiffusionSampler(), candidates, 18, measure)
    assert [trial.note for trial in trials] == [
        "",
        "sigma_min 0.01 is not below sigma_max 0.005",
        "samples are not finite",
        "",
    ]  # guidance 1.0 is the configured one
    assert chosen(trials).guidance == 0.5
    with pytest.raises(InputError, match="not finite"):
        search(DiffusionSampler(guidance=2.5), candidates, 18, measure)
