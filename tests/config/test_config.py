import json
import subprocess
import sys
from pathlib import Path

import pytest

from medsynth import config
from medsynth.errors import InputError

DATASET = {
    "source": {"kind": "phantom", "phantom": "chest_xray", "count": 10},
    "modality": "chest_xray",
    "size": [32, 32],
    "conditions": {
        "pathology": {"kind": "categorical", "values": ["normal", "nodule"]},
        "severity": {"kind": "number", "range": [0, 1]},
        "lesion": {"kind": "lesions", "severity": "severity"},
    },
    "label": "pathology",
    "plan": {"request": {"kind": "balance", "column": "pathology"}, "shards": 2},
}
VOLUMES = DATASET | {"modality": "ct_volume", "size": [32, 32, 32]}
TABLE = {"kind": "table", "table": "samples.csv"}
COLOUR = DATASET | {"modality": "fundus"}
CONFIG = {"datasets": {"d": DATASET}, "models": {"m": {"family": "diffusion"}}}
STUDENT = {"family": "consistency", "parents": {"teacher": "m"}}


def changed(path: str, value) -> dict:
    copy = json.loads(json.dumps(CONFIG))
    *parents, last = path.split(".")
    section = copy
    for key in parents:
        section = section[key]
    section[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("datsets", {}, "unknown key 'datsets', did you mean 'datasets'?"),
        ("datasets.d.modalty", "ct", "datasets.d: unknown key 'modalty', did you mean 'modality'?"),
        ("models.m.training", {"learning_rat": 1}, "did you mean 'learning_rate'?"),
        ("datasets.d.modality", "chest_xry", "did you mean 'chest_xray'?"),
        ("datasets.d.size", [32, 32, 32], "size has 3 axes, modality chest_xray has 2"),
        (
            "datasets.d.size",
            [62, 64],
            "datasets.d and models.m: size [62, 64] is not divisible by 4, which a",
        ),
        (
            "results",
            "",
            "config.yaml: results: expected a folder, whose name is not empty and does not begin with '-', got ''",
        ),
        ("results", " ", "results: expected a folder"),
        (
            "results",
            "-rf",
            "results: expected a folder, whose name is not empty and does not begin with '-', got '-rf'",
        ),
        (
            "datasets.d.source",
            TABLE | {"intensity": "windowed"},
            "source.intensity: windowed is for a modality with a physical unit, this one has detector grey",
        ),
        (
            "datasets.d",
            COLOUR | {"source": TABLE | {"colour": "luma"}},
            "source.colour: luma is for a modality without",
        ),
        ("datasets.d.source", TABLE | {"frame": 1}, "source.frame: for volumes, this modality has 2 axes"),
        ("datasets.d.source", TABLE | {"bits_stored": 17}, "bits_stored: Input should be less than or equal to"),
        ("datasets.d.label", "severity", "label 'severity' is not a categorical condition"),
        ("datasets.d.formats", ["nift"], "unknown format in formats 'nift', did you mean 'nifti'?"),
        ("datasets.d.formats", ["png", "png"], "formats: ['png', 'png'] names one twice"),
        ("datasets.d.formats", [], "datasets.d.formats: Tuple should have at least 1 item"),
        ("datasets.d", VOLUMES | {"formats": ["nifti", "png"]}, "formats: png holds images of 2 axes, these have 3"),
        ("datasets.d", COLOUR | {"formats": ["nifti"]}, "formats: nifti holds one channel, these have 3"),
        ("datasets.d.split", {"train": 0.5, "val": 0.5, "test": 0.5}, "add up to 1"),
        ("datasets.d.models", ["n"], "unknown model in datasets.d.models 'n', did you mean 'm'?"),
        ("datasets.d.plan.request", {"kind": "per_class", "column": "pathology", "counts": {"cyst": 1}}, "'cyst'"),
        ("datasets.d.conditions.severity.range", [1, 0], "does not rise"),
        ("datasets.d.conditions.lesion.severity", "pathology", "not a number condition"),
        ("models.m.sampler", {"guided": [8, 0.1]}, "guided [8.0, 0.1] does not rise, expected [lowest, highest]"),
        ("models.m.sampler", {"redraw": [[1.0]]}, "models.m.sampler: unknown key 'redraw', did you mean"),
        ("models.s", STUDENT | {"sampler": {"guidance": 2}}, "models.s.sampler: unknown key 'guidance', did you mean"),
        (
            "models.m.tuning",
            {"images": 3},
            "models.m.tuning.images: Input should be greater than or equal to 16, got 3",
        ),
        ("models.m.sampler", {"guided": [2, 2]}, "guided [2.0, 2.0] does not rise"),
        ("models.m.coarse_noise", -1, "models.m.coarse_noise: Input should be greater than or equal to 0, got -1"),
        ("models.s", STUDENT | {"parents": {"teacher": "n"}}, "models.s: teacher 'n' is not a diffusion model"),
        (
            "models.s",
            STUDENT | {"parents": {"techer": "m"}},
            "unknown role in parents 'techer', did you mean 'teacher'?",
        ),
        (
            "models.s",
            STUDENT | {"parents": {}},
            "models.s: parents has no teacher, a consistency model learns from one",
        ),
        (
            "models.s",
            STUDENT | {"parents": {"teacher": "d/m"}},
            "teacher 'd/m' is of a dataset by name, expected 'm' alone",
        ),
        ("models.m.parents", {"teacher": "m"}, "unknown role in parents 'teacher', did you mean 'initial'?"),
        ("models.m.parents", {"initial": "e/m"}, "unknown dataset of initial 'e', did you mean 'd'?"),
        ("models.m.parents", {"initial": "m"}, "a model cannot begin from itself: d/m from d/m"),
        ("evaluation", {"metrics": []}, "evaluation.metrics: Tuple should have at least 1 item"),
        ("evaluation", {"metrics": ["kit"]}, "unknown metric 'kit', did you mean 'kid'?"),
        (
            "models.m.sampler",
            {"guidance": {"patology": 2}},
            "unknown condition in models.m.sampler 'patology', did you mean 'pathology'?",
        ),
        ("models.m.losses", {"edg": {"weight": 1}}, "unknown loss 'edg', did you mean 'edge'?"),
        ("datasets.d.source.phantom", "chest_xry", "unknown phantom 'chest_xry', did you mean 'chest_xray'?"),
        ("models.s", STUDENT | {"steps": [1]}, "models.s: steps [1] leave nothing to learn"),
        (
            "models.s",
            STUDENT | {"steps": [1, 1, 1, 8]},  # of three stages
            "datasets.d and models.s: steps [1, 1, 1, 8] leave nothing to learn",
        ),
        ("models.s", STUDENT | {"sampler": {"redraw": [[90, 1]]}}, "not below the teacher's sigma_max 80"),
        ("models.s", STUDENT | {"sampler": {"redraw": [[1, 2]]}}, "models.s.sampler: redraw [1.0, 2.0] does not fall"),
        ("seed", "zero", "seed: Input should be a valid integer"),
    ],
)
def test_a_wrong_key_or_value_is_named_in_one_line(path, value, message):
    with pytest.raises(InputError) as caught:
        config.parse(config.Config, changed(path, value), "config.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


TAKEN = (
    *("seed", "sample_id", "model_sha256", "sampler", "verdict", "reason", "nearest_similarity", "file_name"),
    *("synthetic", "config_sha256", "rescale_slope", "source_width", "extent_height", "split", "mask"),
    "predicted_pathology",
)


@pytest.mark.parametrize("name", TAKEN)
def test_a_condition_cannot_take_the_name_of_a_column(name):
    number = {"kind": "number", "range": [0, 1]}
    values = changed("datasets.d.conditions", DATASET["conditions"] | {name: number})
    message = rf"^x: datasets\.d: conditions\.{name}: '{name}' is a column of medsynth's own, take another name$"
    with pytest.raises(InputError, match=message):
        config.parse(config.Config, values, "x")
    prepared = config.parse(config.Config, CONFIG, "").prepare("d").model_dump(mode="json")
    prepared["conditions"][name] = number
    with pytest.raises(InputError, match=f"{name!r} is a column of medsynth's own"):
        config.parse(config.PrepareSettings, prepared, "--settings")


GRADE = {"kind": "ordinal", "values": [0, 1, 2]}


@pytest.mark.parametrize(
    ("strata", "message"),
    [
        (["pathology", "severity"], "strata: 'severity' is not a categorical or ordinal condition"),
        (["grade"], "strata ['grade']: expected distinct fields, the label 'pathology' among them"),
        (["pathology", "pathology"], "expected distinct fields"),
    ],
)
def test_strata_are_the_label_and_other_fields_of_few_values(strata, message):
    values = changed("datasets.d.conditions", DATASET["conditions"] | {"grade": GRADE})
    values["datasets"]["d"]["strata"] = ["grade", "pathology"]
    whole = config.parse(config.Config, values, "")
    assert whole.prepare("d").strata == ("grade", "pathology")
    assert whole.datasets["d"].conditions["grade"].values == ("0", "1", "2")  # as they stand in a table
    values["datasets"]["d"]["strata"] = strata
    with pytest.raises(InputError) as caught:
        config.parse(config.Config, values, "config.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


TABLE = {"kind": "table", "table": "t.csv"}
SIZES = {"column": "Size", "edges": [1, 2], "labels": ["normal", "nodule", "normal"]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"columns": {"imge": "file"}}, "unknown column in source.columns 'imge', did you mean 'image'?"),
        ({"columns": {"severity": None}}, "columns: severity: only mask and split can be left out by null"),
        ({"bins": {"severity": SIZES}}, "source.bins: 'severity' is not a categorical or ordinal condition"),
        ({"bins": {"pathology": SIZES | {"labels": ["a", "b", "c"]}}}, "unknown label in source.bins.pathology 'a'"),
        ({"bins": {"pathology": SIZES | {"edges": [2, 1]}}}, "edges [2.0, 1.0] do not rise"),
        ({"bins": {"pathology": SIZES | {"edges": [1]}}}, "3 labels for 1 edges, expected one more than edges"),
        ({"bins": {"pathology": SIZES}, "columns": {"pathology": "x"}}, "both name 'pathology'"),
    ],
)  # fmt: skip
def test_a_table_is_renamed_and_binned_for_conditions_that_there_are(keys, message):
    good = {"columns": {"image": "file", "lesion_x": "X", "split": None}, "bins": {"pathology": SIZES}}
    config.parse(config.Config, changed("datasets.d.source", TABLE | good), "config")
    with pytest.raises(InputError) as caught:
        config.parse(config.Config, changed("datasets.d.source", TABLE | keys), "config")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_plan_may_count_grades():
    values = changed("datasets.d.conditions", DATASET["conditions"] | {"grade": GRADE})
    values["datasets"]["d"]["plan"] = {"request": {"kind": "per_class", "column": "grade", "counts": {"2": 5}}}
    assert config.parse(config.Config, values, "").sample("d", "m").plan.request.counts == {"2": 5}


def test_slots_of_lesions_cannot_share_a_column_with_another_field():
    lesions = {"lesion": {"kind": "lesions", "most": 2}, "lesion_1": {"kind": "lesions"}}
    values = changed("datasets.d.conditions", DATASET["conditions"] | lesions)
    with pytest.raises(
        InputError, match=r"conditions\.lesion_1 and conditions\.lesion both have the column 'lesion_1_x'"
    ):
        config.parse(config.Config, values, "config.yaml")


@pytest.mark.parametrize("kind", [{"kind": "number", "range": [0, 1]}, {"kind": "lesions"}])
def test_two_conditions_cannot_have_one_column(kind):
    values = changed("datasets.d.conditions", DATASET["conditions"] | {"lesion_size": kind})
    message = r"conditions\.lesion and conditions\.lesion_size both have the column 'lesion_size'$"
    with pytest.raises(InputError, match=message):
        config.parse(config.Config, values, "config.yaml")
    free = changed("datasets.d.conditions", DATASET["conditions"] | {"lesion_z": kind})  # no column of a flat image
    assert config.parse(config.Config, free, "").runs()


@pytest.mark.parametrize(("value", "meaning"), [("", "is missing"), ("n/a", "cannot apply")])
def test_no_class_is_called_like_a_cell_without_a_value(value, meaning):
    values = changed("datasets.d.conditions.pathology.values", ["normal", "nodule", value])
    message = f"{value!r} is no value: in a cell it says that the value {meaning}"
    with pytest.raises(InputError, match=message) as caught:
        config.parse(config.Config, values, "config.yaml")
    assert "datasets.d.conditions.pathology" in str(caught.value) and "\n" not in str(caught.value)


def test_a_parent_of_other_axes_is_refused():
    volumes = DATASET | {"modality": "ct_volume", "size": [32, 32, 32], "models": ["c"]}
    volumes["source"] = {"kind": "table", "table": "t.csv"}
    values = {
        "datasets": {"d": DATASET | {"models": ["m"]}, "volumes": volumes},
        "models": {"m": {"family": "diffusion"}, "c": {"family": "diffusion", "parents": {"initial": "d/m"}}},
    }
    message = "datasets.volumes and models.c: initial d/m makes images of 2 axes, expected 3"
    with pytest.raises(InputError, match=message):
        config.parse(config.Config, values, "")


def test_a_parent_elsewhere_is_another_run():
    other = DATASET | {"size": [64, 64], "models": ["c"]}
    values = {
        "datasets": {"d": DATASET | {"models": ["m"]}, "other": other},
        "models": {"m": {"family": "diffusion"}, "c": {"family": "diffusion", "parents": {"initial": "d/m"}}},
    }
    whole = config.parse(config.Config, values, "")
    assert whole.runs() == [("d", "m"), ("other", "c")] and whole.parents("other", "c") == {"initial": ("d", "m")}
    assert (
        whole.train("other", "c").parents.keys() == {"initial"}
        and "sampler" not in whole.train("other", "c").model_dump()["model"]
    )


def test_no_model_is_called_none():
    values = {"datasets": {"d": DATASET}, "models": {"none": {"family": "diffusion"}}}
    with pytest.raises(InputError, match="'none' is no model's name: in `parents` it stands for no model"):
        config.parse(config.Config, values, "")


def test_every_slice_survives_json():
    whole = config.parse(config.Config, changed("models.s", STUDENT | {"sampler": {"batch_size": 8}}), "")
    of_models = (part for model in whole.models for part in (whole.train("d", model), whole.sample("d", model)))
    for part in (whole.prepare("d"), *of_models, whole.evaluate("d"), whole.tracking):
        assert config.parse_json(type(part), part.model_dump_json(), "") == part


def test_a_loss_at_all_noise_levels_survives_json_and_no_number_is_infinite():
    whole = config.parse(config.Config, changed("models.m.losses", {"edge": {"weight": 0.1}}), "")
    settings = whole.train("d", "m")
    assert config.parse_json(config.TrainSettings, settings.model_dump_json(), "") == settings
    assert settings.model.losses["edge"].below is None
    for path, value in (("models.m.sampler.guided", [0.1, float("inf")]), ("models.m.p_mean", float("nan"))):
        section, _, key = path.rpartition(".")
        with pytest.raises(InputError, match="finite number"):
            values = changed(section, {key: value}) if section.endswith("sampler") else changed(path, value)
            config.parse(config.Config, values, "")


def test_an_extractor_looks_at_images_of_its_own_axes():
    values = changed("judges", {"extractor": "efficientnet_lite0_planes"})
    with pytest.raises(
        InputError, match=r"datasets\.d: judges\.extractor: .* looks at images of 3 axes, these have 2$"
    ):
        config.parse(config.Config, values, "")


def test_unreadable_files_are_one_line(tmp_path):
    for name, text in {"a.yaml": "a: [", "b.yaml": "just words", "c.yaml": ""}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=name) as caught:
            config.load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"none\.yaml"):
        config.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "config").rglob("*.yaml")), ids=lambda p: p.name)
def test_the_configurations_of_the_project_are_valid(path):
    assert config.load(path).runs()


@pytest.mark.parametrize(
    ("dataset", "formats"), [(DATASET, ("png",)), (VOLUMES, ("nifti",)), (DATASET | {"formats": ["nifti"]}, ("nifti",))]
)
def test_a_dataset_is_released_in_the_formats_that_it_names_or_its_axes_want(dataset, formats):
    parsed = config.parse(config.Config, CONFIG | {"datasets": {"d": dataset}}, "config")
    assert parsed.release("d").formats == formats


def test_the_schema_that_is_shipped_is_the_one_of_the_code():
    shipped = Path(__file__).parents[2] / "workflow/schemas/config.schema.json"
    assert json.loads(shipped.read_text()) == config.Config.model_json_schema(), (
        "stale: run `medsynth schema --out workflow/schemas/config.schema.json`"
    )


def test_the_schema_imports_neither_torch_nor_pandas():
    code = "import sys, medsynth.config; print([m for m in ('torch', 'pandas', 'monai', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
