"""What a sampler's settings reach: sampling and tuning, a student of the model, and nothing of its own training."""

import pytest

from medsynth import config
from medsynth.config.families.consistency import Distillation
from medsynth.config.families.diffusion import DiffusionSampler
from tests.config.test_config import CONFIG, STUDENT, changed


def test_a_sampler_does_not_reach_training_and_a_learning_rate_does():
    plain = config.parse(config.Config, CONFIG, "").train("d", "m")
    sampler = config.parse(config.Config, changed("models.m.sampler", {"guidance": 3}), "")
    assert sampler.train("d", "m") == plain and sampler.tune("d", "m").sampler.guidance == 3
    tuning = config.parse(config.Config, changed("models.m.tuning", {"candidates": 3}), "")
    assert tuning.train("d", "m") == plain and tuning.sample("d", "m") == sampler.sample("d", "m")
    assert (
        config.parse(config.Config, changed("models.m.training", {"learning_rate": 1e-4}), "").train("d", "m") != plain
    )


def test_what_is_set_of_a_sampler_is_not_tried_though_it_is_the_default():
    free = config.parse(config.Config, CONFIG, "").tune("d", "m")
    assert {"guidance", "autoguidance", "steps"} <= set(free.candidates)
    default = {"guidance": DiffusionSampler().guidance, "batch_size": 8}
    whole = config.parse(config.Config, changed("models.m.sampler", default), "")
    assert set(whole.tune("d", "m").candidates) == set(free.candidates) - {"guidance"}
    assert whole.track().configuration_sha256 != config.parse(config.Config, CONFIG, "").track().configuration_sha256


@pytest.mark.parametrize("model", ["m", "s"])
def test_every_candidate_is_a_setting_of_its_family_other_than_the_default(model):
    tune = config.parse(config.Config, changed("models.s", STUDENT), "").tune("d", model)
    assert tune.candidates
    for key, values in tune.candidates.items():
        tried = [type(tune.sampler).model_validate(tune.sampler.model_dump() | {key: value}) for value in values]
        assert len({sampler.model_dump_json() for sampler in [tune.sampler, *tried]}) == 1 + len(values)


def test_a_student_is_taught_by_its_teachers_sampler_but_for_the_steps():
    values = changed("models.s", STUDENT | {"training": {"images": 7}})
    values["models"]["m"]["sampler"] = {"guidance": 1.7, "steps": [9], "precision": "bfloat16", "batch_size": 3}
    whole = config.parse(config.Config, values, "")
    settings = whole.train("d", "s")
    student, teacher = settings.model, settings.parents["teacher"]
    assert teacher.sampler == DiffusionSampler(guidance=1.7, steps=(9,)) and student.steps == (12, 8, 1)
    assert teacher.trained_by() == whole.train("d", "m").model.trained_by()
    assert student.training == Distillation(images=7) and student.training.learning_rate == 5e-4


def test_tune_tries_one_step_of_a_last_stage_with_a_discriminator_by_the_size_of_the_images():
    adversarial = config.parse(config.Config, changed("models.m", {"family": "diffusion", "adversarial": {}}), "")
    size = changed("datasets.d.size", [128, 128])
    assert adversarial.tune("d", "m").candidates["steps"][0][-1] == 1
    larger = config.parse(config.Config, size | {"models": {"m": {"family": "diffusion", "adversarial": {}}}}, "")
    assert larger.tune("d", "m").candidates["steps"][0] == (8, 6, 5, 1)
