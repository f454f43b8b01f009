"""What holds for every kind of condition, in images and volumes."""

import ast
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medsynth import registry
from medsynth.conditions.kind import MISSING, Reading
from medsynth.conditions.schema import ConditionSchema
from medsynth.judges.reader import read, reading_cells
from medsynth.judges.reader_training import train_reader
from medsynth.models.networks.blocks import ConditionEmbedding
from tests.conditions.toys import FIELDS, STRUCTURES, toy

PACKAGE = Path(__file__).parents[2] / "medsynth"
KINDS = list(registry.CONDITIONS)
SIDE = {2: 32, 3: 12}

EPOCHS = {"lesions": 45}


def schema(kind: str, dims: int) -> ConditionSchema:
    return ConditionSchema({"x": FIELDS[kind]}, dims, STRUCTURES)


def test_every_kind_has_a_toy():
    assert list(FIELDS) == KINDS


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_learns_to_read_it_back(kind: str, dims: int):
    of = schema(kind, dims)
    images, table, masks = toy(kind, 320, dims, SIDE[dims], seed=0)
    held_out, asked, held_out_masks = toy(kind, 100, dims, SIDE[dims], seed=1)
    parts = [(images[rows], of.encode(table[rows], masks[rows])) for rows in (slice(260), slice(260, 320))]
    reading = read([train_reader(*parts, of, EPOCHS.get(kind, 14), seed=0)[0]], held_out)
    other = np.random.default_rng(0).permutation(100)  # what was read from another image: chance
    shuffled = Reading(
        reading.values.iloc[other].reset_index(drop=True),
        {name: of_all[other] for name, of_all in reading.probabilities.items()},
    )
    x = of.kinds["x"]
    of_images, by_chance = (
        x.by_part(x.asked_and_read(asked, held_out_masks, seen, held_out.shape[2:])) for seen in (reading, shuffled)
    )
    compared = 0
    for (part, arrays), (_, others) in zip(of_images, by_chance, strict=True):
        for statistic in x.statistics:
            value, chance = statistic.of(*arrays), statistic.of(*others)
            better = value > (1 + chance) / 2 if statistic.higher_is_better else value < 0.8 * chance
            assert better, (part, statistic.name, value, chance)
            compared += 1
    assert compared
    text = reading_cells(of, asked, reading)
    assert list(text) == [f"predicted_{column}" for column in of.columns]
    for column in of.columns:
        assert all(of.check(column, cell) is None for cell in text[f"predicted_{column}"])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_scalars_embedding_and_planes_have_the_sizes_that_the_kind_says(kind: str, dims: int):
    of = schema(kind, dims)
    _, table, masks = toy(kind, 6, dims, 16, seed=2)
    condition = of.encode(table, masks)
    nothing = of.nothing(6)
    assert condition.values.shape == condition.states.shape == nothing.states.shape == (6, of.width)
    for shape in ((16,) * dims, (4,) * dims):
        planes = of.draw(condition, shape)
        assert planes.shape == (6, of.map_channels, *shape)
        assert of.draw(nothing, shape).abs().sum() == 0
    torch.manual_seed(0)
    embed = ConditionEmbedding(of, 8)
    assert embed(condition).shape == (6, 8) and not torch.allclose(embed(condition)[0], embed(nothing)[0])
    embed(condition).square().sum().backward()
    embed(nothing).square().sum().backward()
    assert all(parameter.grad is not None for parameter in embed.parameters())  # as several processes need it


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_on_its_own_is_dropped_alone_and_with_all(kind: str):
    of = ConditionSchema({"before": FIELDS["number"], "x": FIELDS[kind]}, 2, STRUCTURES)
    _, table, masks = toy(kind, 1, 2, 16, seed=3)
    condition = of.encode(table.assign(before="7"), masks)
    assert [part for drop in of.drops for part in range(drop.start, drop.stop)] == list(range(of.width))
    for place, part in enumerate(of.drops):
        uniform = torch.ones(1, len(of.drops) + 1)
        uniform[0, place] = 0
        left = of.drop(condition, 0.5, uniform).states[0]
        expected = condition.states[0].clone()
        expected[part] = MISSING
        assert torch.equal(left, expected)
    uniform = torch.ones(1, len(of.drops) + 1)
    uniform[0, -1] = 0
    assert (of.drop(condition, 0.5, uniform).states == MISSING).all()


def test_kinds_are_told_apart_in_their_own_modules_and_the_configuration_alone():
    classes = {entry.settings.partition(":")[2] for entry in registry.CONDITIONS.values()}
    classes |= {entry.code.partition(":")[2] for entry in registry.CONDITIONS.values()}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                named = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                named |= {part.attr for part in ast.walk(node.args[1]) if isinstance(part, ast.Attribute)}
                found |= {path.relative_to(PACKAGE).parts[0]} if named & classes else set()
    assert found <= {"conditions", "config"}


def run(program: str, *path: Path) -> str:
    environment = {"PYTHONPATH": ":".join(map(str, [*path, PACKAGE.parent])), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_the_kinds_that_a_dataset_has_are_imported_and_no_torch():
    program = """
import sys
from medsynth.config import Categorical
from medsynth.conditions.schema import ConditionSchema
schema = ConditionSchema({"x": Categorical(kind="categorical", values=("a", "b"))}, 2)
assert schema.check("x", "c") == "not one of a, b"
kinds = [name for name in ("ordinal", "number", "lesions", "mask") if f"medsynth.conditions.{name}" in sys.modules]
print(kinds, "torch" in sys.modules, "pandas" in sys.modules)
"""
    assert run(program) == "[] False False"


TOY_KIND = """
from typing import Literal
import numpy as np
from medsynth.config.conditions import FieldSettings
from medsynth.conditions.kind import Kind
from medsynth.conditions.statistics import BALANCED, Statistic

class Even(FieldSettings):
    kind: Literal["even"]

class EvenKind(Kind):
    statistics = (Statistic("share_even", True, "", lambda asked, read: float((asked == read).mean()), BALANCED),)

    def refusal(self, column, text):
        return None if text in ("even", "odd") else "neither even nor odd"

    def to_value(self, column, text):
        return float(text == "even")

    def to_text(self, column, value):
        return "even" if value > 0.5 else "odd"

    def read(self, outputs):
        return {self.name: np.where(outputs[0].numpy() > 0.5, "even", "odd")}, None
"""


@pytest.mark.slow
def test_a_kind_is_added_by_one_module_and_one_line_of_the_registry(tmp_path: Path):
    (tmp_path / "toy_kind.py").write_text(TOY_KIND)
    program = """
from medsynth import registry
registry.CONDITIONS["even"] = registry.Entry("toy_kind:EvenKind", "toy_kind:Even")
import numpy as np, pandas as pd
from medsynth.config import Dataset, parse
dataset = parse(Dataset, {
    "source": {"kind": "phantom", "phantom": "chest_xray", "count": 1}, "modality": "chest_xray", "size": [16, 16],
    "conditions": {"x": {"kind": "even"}, "l": {"kind": "categorical", "values": ["a"]}}, "label": "l",
    "plan": {"request": {"kind": "balance", "column": "l"}}}, "test")
from medsynth.conditions.schema import ConditionSchema
from medsynth.judges.reader import read
from medsynth.judges.reader_training import train_reader
from medsynth.models.networks.blocks import ConditionEmbedding
schema = ConditionSchema(dataset.conditions, 2)
table = pd.DataFrame({"x": ["even", "odd", ""], "l": "a"})
condition = schema.encode(table)
assert schema.decode(condition)["x"].tolist() == ["even", "odd", ""]
assert schema.check("x", "3") == "neither even nor odd"
assert ConditionEmbedding(schema, 4)(condition).shape == (3, 4)
images = np.zeros((3, 1, 16, 16), np.uint16)
part = images, condition
reading = read([train_reader(part, part, schema, 1, 0)[0]], images)
assert set(reading.values["x"]) <= {"even", "odd"}
print([statistic.name for kind in schema.kinds.values() for statistic in kind.statistics])
"""
    assert run(program, tmp_path) == "['share_even', 'accuracy']"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_sent_to_another_process(kind: str) -> None:
    sent = pickle.loads(pickle.dumps(schema(kind, 2)))
    assert sent.columns == schema(kind, 2).columns
