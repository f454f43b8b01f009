import pytest

from medsynth import config
from medsynth.artifacts.tuned import Tuned
from medsynth.errors import InputError
from medsynth.models.checkpoint import read_info
from medsynth.train.loop import train
from tests.train.test_loop import settings as train_settings


def test_a_student_learns_from_what_tune_chose_for_its_teacher(store, tmp_path):
    teacher = train_settings(images=16)
    train(teacher, store, tmp_path / "teacher")
    weights = tmp_path / "teacher/model.safetensors"
    model = {"family": "consistency", "parents": {"teacher": "t"}, "steps": [2], "training": {"images": 16}}
    student = config.TrainSettings.model_validate({"seed": 3, "model": model, "parents": {"teacher": teacher.model}})
    sampler = teacher.model.sampler.model_copy(update={"guidance": 2.5})
    tuned = Tuned(
        sampler=sampler,
        weights_sha256=read_info(weights).weights_sha256,
        tried=1,
        images=16,
        changed={"guidance": 2.5},
        note="",
    )
    tuned.write(tmp_path / "sampler.json")
    train(student, store, tmp_path / "student", {"teacher": weights}, {"teacher": tmp_path / "sampler.json"})
    learnt = read_info(tmp_path / "student/model.safetensors").settings
    assert learnt.parents["teacher"].sampler == sampler
    assert learnt.model == student.model and learnt.parents["teacher"].trained_by() == teacher.model.trained_by()
    tuned.model_copy(update={"weights_sha256": "1" * 64}).write(tmp_path / "other.json")
    with pytest.raises(InputError, match="chosen for weights with sha256 111111111111, these have"):
        train(student, store, tmp_path / "other", {"teacher": weights}, {"teacher": tmp_path / "other.json"})
