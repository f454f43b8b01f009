"""What `prepare` says before a model is trained: classes that cannot be drawn, and what will not be judged."""

from medsynth.artifacts.store import Store


def test_a_class_without_an_image_is_warned_of(collection, caplog):
    wider = {"pathology": {"kind": "categorical", "values": ["normal", "nodule", "effusion"]}}
    collection.prepare(conditions=wider)
    assert any("no training image of pathology effusion: a plan" in message for message in caplog.messages)
    caplog.clear()
    collection.prepare()
    assert not any("no training image" in message for message in caplog.messages)


def test_a_class_of_which_no_sample_can_be_rejected_is_warned_of(collection, caplog):
    collection.prepare()
    counts = Store.open(collection.folder / "out/demo").split("val").samples["pathology"].value_counts()
    few = ", ".join(f"{value} ({counts[value]})" for value in ("normal", "nodule"))
    [message] = [message for message in caplog.messages if "rejected as misread" in message]
    assert f"fewer than 19 validation images of pathology {few}: no sample" in message


def test_too_few_subjects_to_judge_by_are_warned_of(collection, caplog):
    collection.prepare(split={"train": 0.4, "val": 0.3, "test": 0.3})
    for split, what in (
        ("val", "the sampler is tuned by training images"),
        ("test", "KID, FID, density and coverage are not measured"),
    ):
        [message] = [message for message in caplog.messages if f"subjects in {split}" in message]
        count = len(Store.open(collection.folder / "out/demo").split(split).samples)
        assert f"demo: {count} subjects in {split}, fewer than 20: " in message and what in message
