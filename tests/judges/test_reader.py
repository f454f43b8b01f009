import numpy as np
import pandas as pd
import pytest
import torch

from medsynth.conditions.kind import Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.config import Categorical, Lesions, Number
from medsynth.judges import reader_training
from medsynth.judges.features import efficientnet
from medsynth.judges.reader import Reader, read, reading_cells, train_readers
from medsynth.judges.reader_training import as_input, drawn, input_size, reading_loss, row_weights, train_reader

FIELDS = {
    "type": Categorical(kind="categorical", values=("clear", "lesion")),
    "severity": Number(kind="number", range=(0.0, 10.0)),
    "lesion": Lesions(kind="lesions", severity="severity"),
}


def simulate(count: int, spatial_dims: int, side: int, seed: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Discs whose place, size and brightness are known, on noise; a third of the images have none."""
    rng = np.random.default_rng(seed)
    centres = np.stack(np.meshgrid(*[np.arange(side) + 0.5] * spatial_dims, indexing="ij")[::-1], -1)  # x first
    images = rng.normal(0.3, 0.02, (count, 1, *[side] * spatial_dims))
    axes = ["lesion_x", "lesion_y", "lesion_z"][:spatial_dims]
    rows = []
    for image in images:
        if rng.random() < 1 / 3:
            rows.append(dict.fromkeys(["severity", *axes, "lesion_size"], "n/a") | {"type": "clear"})
            continue
        place, size, severity = rng.uniform(0.2, 0.8, spatial_dims), rng.uniform(0.15, 0.35), rng.uniform(0, 10)
        radius = np.linalg.norm(centres - place * side, axis=-1)
        image += (0.1 + 0.05 * severity) / (1 + np.exp(np.clip(2 * (radius - size * side / 2), -50, 50)))
        numbers = dict(zip(axes, place, strict=True)) | {"severity": severity, "lesion_size": size}
        rows.append({name: f"{value:.6f}" for name, value in numbers.items()} | {"type": "lesion"})
    rows[-1]["severity"] = ""  # a missing cell
    return (np.clip(images, 0, 1) * 65535).astype(np.uint16), pd.DataFrame(rows)


def scores(schema: ConditionSchema, table: pd.DataFrame, reading: Reading, shape) -> dict[tuple[str, str], float]:
    """(field, statistic) → its value, without masks."""
    return {
        (name, statistic.name): statistic.of(*kind.asked_and_read(table, None, reading, shape))
        for name, kind in schema.kinds.items()
        for statistic in kind.statistics
    }


# Always reading the middle would be 7 pixels off in the images and 5 in the volumes.
@pytest.mark.parametrize(("spatial_dims", "side", "count", "within_px"), [(2, 32, 360, 1.5), (3, 16, 320, 2.5)])
def test_reads_what_is_drawn(spatial_dims: int, side: int, count: int, within_px: float) -> None:
    schema = ConditionSchema(FIELDS, spatial_dims)
    images, table = simulate(count, spatial_dims, side, seed=0)
    cut = count - 80
    parts = [(images[rows], schema.encode(table[rows])) for rows in (slice(cut), slice(cut, count))]
    reader, _ = train_reader(*parts, schema, 12, seed=0)
    test_images, test_table = simulate(120, spatial_dims, side, seed=1)
    reading = read([reader], test_images)
    shape = test_images.shape[2:]

    score = scores(schema, test_table, reading, shape)
    assert score["type", "accuracy"] > 0.85
    assert score["severity", "rank_correlation"] > 0.4  # 80 lesions: 0.22 would be chance at 5 %
    assert score["lesion", "centre_error_px"] < within_px
    assert score["lesion", "size_error_px"] < 0.1 * side


def test_training_is_reproducible_and_leaves_the_global_generator_alone() -> None:
    schema = ConditionSchema(FIELDS, 2)
    images, table = simulate(33, 2, 16, seed=0)
    part = images, schema.encode(table)
    state = torch.get_rng_state()
    one, two = (read([train_reader(part, part, schema, 1, seed=3)[0]], images) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    pd.testing.assert_frame_equal(one.values, two.values)


def test_shifted_lesions_stay_in_place_relative_to_the_image() -> None:
    schema = ConditionSchema(FIELDS, 2)
    images, table = simulate(12, 2, 64, seed=2)
    table.loc[:, ["lesion_x", "lesion_y"]] = "n/a"
    images[:] = 0
    rng = np.random.default_rng(0)
    marks = rng.integers(20, 44, (12, 2))
    for image, row, (x, y) in zip(images, range(12), marks, strict=True):
        image[0, y, x] = 65535
        table.loc[row, ["lesion_x", "lesion_y", "lesion_size"]] = [f"{(x + 0.5) / 64}", f"{(y + 0.5) / 64}", "0.1"]
    torch.manual_seed(0)
    moved, condition = reader_training._shifted(as_input(images), schema.encode(table), schema)
    flat = moved.flatten(2).argmax(2)[:, 0]
    brightest = torch.stack([flat % 64, flat // 64], 1)
    assert not np.array_equal(brightest.numpy(), marks)
    np.testing.assert_allclose(condition.values[:, schema.groups["lesion"]][:, :2] * 64 - 0.5, brightest, atol=1e-4)


def test_fields_that_are_not_given_have_no_loss() -> None:
    schema = ConditionSchema(FIELDS, 2)
    reader = Reader(schema, 1, (32, 32))
    outputs = reader(torch.zeros(3, 1, 32, 32))
    nothing = reading_loss(outputs, schema.nothing(3), schema, torch.Size([8, 8]))
    assert nothing.item() == 0
    some = schema.encode(pd.DataFrame({"type": ["", "clear", ""]}))
    loss = reading_loss(outputs, some, schema, torch.Size([8, 8]))
    assert loss.item() == pytest.approx(-outputs["type"][0].log_softmax(1)[1, 0].item(), rel=1e-5)


def test_asked_and_read_are_in_the_units_of_the_field() -> None:
    schema = ConditionSchema(FIELDS, 2)
    columns = ["type", "severity", "lesion_x", "lesion_y", "lesion_size"]
    table = pd.DataFrame(
        [["lesion", "4", "0.5", "0.25", "0.1"], ["clear", "n/a", "n/a", "n/a", "n/a"], ["", "", "0.5", "", "0.1"]],
        columns=columns,
    )
    read = pd.DataFrame([["clear", 5.5, 0.53, 0.29, 0.15]] * 3, columns=columns)
    reading = Reading(read, {})
    shape = (50, 100)  # rows, columns

    score = scores(schema, table, reading, shape)
    assert score["type", "accuracy"] == 0.5
    assert score["severity", "mean_absolute_error"] == pytest.approx(1.5)
    assert score["lesion", "centre_error_px"] == pytest.approx(np.hypot(3, 2))
    assert score["lesion", "size_error_px"] == pytest.approx(5)
    cells = reading_cells(schema, table, reading)
    assert cells["predicted_severity"].tolist() == ["5.5", "n/a", "5.5"]
    assert cells["predicted_type"].tolist() == ["clear"] * 3


ONE_CLASS = ConditionSchema({"type": FIELDS["type"]}, 2)


def test_a_rare_class_is_drawn_as_often_as_the_common_one() -> None:
    condition = ONE_CLASS.encode(pd.DataFrame({"type": ["clear"] * 92 + ["lesion"] * 8 + [""] * 10}))
    weights = row_weights(condition, ONE_CLASS)
    assert weights[[0, 92, 100]].tolist() == pytest.approx([50 / 92, 50 / 8, 1])
    rows = drawn(weights, 1100, 0.3)
    assert [int(((low <= rows) & (rows < high)).sum()) for low, high in ((0, 92), (92, 100), (100, 110))] == [
        pytest.approx(500, abs=1),
        pytest.approx(500, abs=1),
        pytest.approx(100, abs=1),
    ]
    assert row_weights(condition[:92], ONE_CLASS).tolist() == [1] * 92


def test_images_are_read_whole_up_to_256_pixels() -> None:
    assert (
        input_size((256, 256)) == [256, 256]
        and input_size((1024, 512)) == [256, 128]
        and input_size((64, 48)) == [64, 48]
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=96)
    pattern = np.indices((128, 128)).sum(0) % 2  # averaged over 2 pixels, nothing of it is left
    images = 30000 + rng.normal(0, 300, (96, 1, 128, 128)) + 6000 * labels[:, None, None, None] * (pattern - 0.5)
    images = images.astype(np.uint16)
    table = pd.DataFrame({"type": np.array(["clear", "lesion"])[labels]})
    parts = [(images[rows], ONE_CLASS.encode(table[rows])) for rows in (slice(48), slice(48, 64))]
    reader, _ = train_reader(*parts, ONE_CLASS, 8, seed=0)
    assert (read([reader], images[64:]).values["type"] == table["type"][64:].to_numpy()).mean() > 0.9


def test_the_imagenet_trunk_begins_with_the_network_and_keeps_its_first_stages() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 64, 64) * 2 - 1
    reader = Reader(ONE_CLASS, 1, (64, 64), "imagenet").eval()
    with torch.no_grad():
        expected = efficientnet().extract_features(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(reader.trunk(images)[2], expected, rtol=1e-3, atol=1e-4)
    arrays = np.random.default_rng(0).integers(0, 65536, (40, 1, 32, 32)).astype(np.uint16)
    part = arrays, ONE_CLASS.encode(pd.DataFrame({"type": ["clear", "lesion"] * 20}))
    before = Reader(ONE_CLASS, 1, (32, 32), "imagenet").state_dict()
    after = train_reader(part, part, ONE_CLASS, 1, 0, "imagenet")[0].state_dict()
    assert torch.equal(before["trunk.network._conv_stem.weight"], after["trunk.network._conv_stem.weight"])
    assert torch.equal(
        before["trunk.network._blocks.4._project_conv.weight"], after["trunk.network._blocks.4._project_conv.weight"]
    )
    assert not torch.equal(before["trunk.network._conv_head.weight"], after["trunk.network._conv_head.weight"])


def test_the_trunk_with_the_least_validation_loss_serves_all_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    losses, seen = {"scratch": 0.7, "imagenet": 0.5}, []

    def trained(training, validation, schema, epochs, seed, trunk, worst=float("inf")):
        seen.append((seed, trunk, worst))
        return (seed, trunk), losses[trunk]

    monkeypatch.setattr("medsynth.judges.reader.train_reader", trained)
    part = np.zeros((4, 1, 32, 32), np.uint16), ONE_CLASS.nothing(4)
    found = train_readers(part, part, ONE_CLASS, 5, count=3, seed=10)
    assert found.readers == ((10, "imagenet"), (11, "imagenet"), (12, "imagenet"))
    assert found.tuning == (10, "scratch")  # distances are measured in the other one
    assert found.losses == losses and seen[1] == (10, "imagenet", pytest.approx(1.05))
    for shape in ((4, 1, 32, 32, 32), (4, 1, 32, 16), (4, 4, 32, 32)):  # volumes, too small, too many channels
        part = np.zeros(shape, np.uint16), ONE_CLASS.nothing(4)
        found = train_readers(part, part, ONE_CLASS, 5, count=1, seed=0)
        assert found.losses == {"scratch": 0.7} and found.tuning == (1, "scratch")
