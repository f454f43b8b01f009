"""What a dry run asks for each job: it follows from the images there are, those asked for, and their channels."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import snakemake

pytestmark = pytest.mark.xdist_group("resources")  # the fixture below is made once

COUNTS = {"a": 120_000, "b": 60_000, "c": 20_000}  # rows of each class; seven in ten are for training
REQUESTS = {
    "few": ({"kind": "per_class", "column": "kind", "counts": {"a": 1000, "b": 0}}, 1000),
    "many": ({"kind": "per_class", "column": "kind", "counts": {"a": 100_000, "b": 51_000}}, 151_000),
    "listed": ({"kind": "table", "table": "plan.csv"}, 80_001),  # its header counts
    "oversampled": ({"kind": "oversample", "column": "kind", "minimum": 60_000, "limit": 2}, 2 * (120_000 - 56_000)),
    "balanced": ({"kind": "balance", "column": "kind"}, 84_000 - 42_000 + 84_000 - 14_000),
}
IMAGE_MB = 2 * 64 * 64 / 1e6
SHARDS = 4

Asked = Mapping[tuple[str, str], tuple[int, int]]


@pytest.fixture(scope="module")
def asked(checkout: Path, tmp_path_factory) -> Asked:
    """(rule, dataset) → MB and minutes, as a dry run prints them of rules without a message of their own."""
    for rules in (checkout / "workflow/rules").glob("*.smk"):
        rules.write_text(re.sub(r"    message:\n.*\n", "", rules.read_text()))
    folder = tmp_path_factory.mktemp("work")
    rows = "".join(f"x.png;p;{kind}\n" * count for kind, count in COUNTS.items())
    (folder / "rows.csv").write_text(f"image;subject_id;kind\n{rows}", encoding="utf-8-sig")
    (folder / "plan.csv").write_text("kind\n" + "a\n" * 80_000)
    base = {
        "source": {"kind": "table", "table": "rows.csv"},
        "modality": "ultrasound",
        "size": [64, 64],
        "conditions": {"kind": {"kind": "categorical", "values": list(COUNTS)}},
        "label": "kind",
    }
    datasets = {
        name: base | {"plan": {"request": request, "shards": SHARDS}} for name, (request, _) in REQUESTS.items()
    }
    datasets["colour"] = datasets["many"] | {"modality": "fundus"}
    phantoms = {"kind": "phantom", "phantom": "chest_xray", "count": 3000}
    conditions = {"kind": {"kind": "categorical", "values": ["a", "b", "c"]}}
    datasets["simulated"] = datasets["balanced"] | {"source": phantoms, "conditions": conditions}
    config = {"datasets": datasets, "models": {"m": {"family": "diffusion"}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(checkout, "-n", "--configfile", folder / "config.yaml", "--directory", folder)
    assert done.returncode == 0, done.stdout
    job = r"^rule (\w+):\n(?:    .*\n)*?    wildcards: dataset=(\w+).*\n(?:    .*\n)*?    resources: (.*)"
    found = {}
    for rule, dataset, resources in re.findall(job, done.stdout, re.MULTILINE):
        mb, minutes = (int(re.search(rf"\b{name}=(\d+)", resources)[1]) for name in ("mem_mb", "runtime"))
        found[rule, dataset] = mb, minutes
    return found


@pytest.mark.parametrize("dataset", [name for name in REQUESTS if name != "few"])
def test_memory_and_time_grow_with_the_images_asked_for(asked: Asked, dataset: str) -> None:
    more = REQUESTS[dataset][1] - REQUESTS["few"][1]
    each_mb = {
        "sample": 2 * IMAGE_MB / SHARDS + 0.005,
        "evaluate": (1 + 1 / SHARDS) * IMAGE_MB + 0.02,
        "release": (1 + 1 / SHARDS) * IMAGE_MB + 0.005,
    }
    for rule, each in each_mb.items():
        (mb, minutes), (less_mb, less_minutes) = asked[rule, dataset], asked[rule, "few"]
        assert mb - less_mb == pytest.approx(each * more, abs=2), rule
        assert minutes > less_minutes, rule
    for rule in ("prepare", "train"):
        assert asked[rule, dataset] == asked[rule, "few"]


def test_phantoms_have_as_many_images_of_each_class(asked: Asked) -> None:
    assert asked["sample", "simulated"] == (3000 + 0.005 * 3000, 20)


@pytest.mark.parametrize("rule", ["prepare", "train", "sample", "evaluate", "release"])
def test_three_channels_take_three_times_the_memory_of_one(asked: Asked, rule: str) -> None:
    real = {"prepare": 0.5, "train": 1, "evaluate": 1}.get(rule, 0) * sum(COUNTS.values())
    each = {"sample": 2 / SHARDS, "evaluate": 1 + 1 / SHARDS, "release": 1 + 1 / SHARDS}
    synthetic = each.get(rule, 0) * REQUESTS["many"][1]
    more = asked[rule, "colour"][0] - asked[rule, "many"][0]
    assert more == pytest.approx(2 * IMAGE_MB * (real + synthetic), abs=2)
