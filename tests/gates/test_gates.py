"""The step: gates.csv of a whole run, and a release that is refused on the command line."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from medsynth.artifacts.outcomes import outcomes, read
from medsynth.artifacts.store import Store
from medsynth.config import Evaluation, Gates, GatesSettings, Oversample
from medsynth.config.gates import OF_STEPS
from medsynth.disk import tables
from medsynth.errors import InputError
from medsynth.gates.gates import gates, look
from tests.gates.toys import NAN, metrics, run

SETTINGS = GatesSettings(gates=Gates(enforce=True).by_name(), measured=Evaluation().metrics)


def test_a_small_run_is_insufficient_and_not_failed(store: Store, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        gates(SETTINGS, run(store), tmp_path / "out")
    found = {gate.name: gate for gate in outcomes(read(tmp_path / "out/gates.csv"))}
    assert {name: gate.result for name, gate in found.items()} == {
        "integrity": "pass", "lineage": "pass", "fidelity": "insufficient", "diversity": "insufficient",
        "adherence": "insufficient", "shortcut": "insufficient", "copies": "insufficient",
    }  # fmt: skip
    assert found["fidelity"].reasons == ("8 subjects, needs 50",)
    assert "copy_recall of exact was not measured" in found["copies"].reasons
    assert "gate fidelity: insufficient: 8 subjects, needs 50" in caplog.messages


def test_empty_cells_are_no_numbers_and_text_is_refused(store: Store) -> None:
    whole = run(store)
    line = whole.metrics.astype(object).assign(value="", note="nothing")
    measured = pd.concat([whole.metrics.assign(note="").astype(str).replace("nan", ""), line.assign(metric="kid")])
    assert "fidelity" in set(look(SETTINGS, run(store, metrics=measured))["gate"])
    with pytest.raises(InputError, match=r"metrics.csv: damaged \(.*many.*\); remove it and make it again"):
        look(SETTINGS, run(store, metrics=whole.metrics.astype(object).assign(floor="many", note="")))


def test_what_is_written_is_what_was_found(store: Store, tmp_path: Path) -> None:
    waived = SETTINGS.gates["diversity"].model_copy(update={"waived": "=a formula"})
    settings = SETTINGS.model_copy(update={"gates": SETTINGS.gates | {"diversity": waived}})
    gates(settings, run(store), tmp_path / "out")
    assert "'=a formula" in (tmp_path / "out/gates.csv").read_text()  # no spreadsheet runs it
    table = tables.read(tmp_path / "out/gates.csv")
    assert set(table.loc[table["gate"] == "diversity", "waived"]) == {"=a formula"}
    assert not (table == "nan").any(axis=None)


@pytest.mark.parametrize(
    ("targeted", "minimum", "groups"),
    [("high", None, ["high"]), (None, 17, ["low", "high"]), (None, 16, []), (None, None, []), ("other", 17, [])],
)
def test_the_recall_of_the_targeted_class_alone_must_gain(store: Store, targeted, minimum, groups) -> None:
    """The store has 16 training images of each class."""
    request = minimum and Oversample(kind="oversample", column="pathology", minimum=minimum)
    gate = Gates().utility.model_copy(update={"subjects": 1, "images": 1, "waived": None})
    settings = GatesSettings(
        gates={"utility": gate}, measured=OF_STEPS["utility"], targeted=targeted, oversample=request
    )
    gains = metrics(
        ("utility_auroc_gain", "all", 0.2, NAN, 60, 600, ""),
        ("utility_recall_gain", "pathology=low", 0.2, NAN, 60, 600, ""),
        ("utility_recall_gain", "pathology=high", 0.0, NAN, 60, 600, ""),
    )
    found = look(settings, run(store, metrics=gains))
    of_gate = found[found["gate"] == "utility"].set_index("group")["result"].to_dict()
    results = {"low": "pass", "high": "insufficient"}
    assert of_gate == {"all": "pass"} | {f"pathology={name}": results[name] for name in groups}


@pytest.mark.parametrize(
    ("auc", "canary", "result"),
    [
        ((0.52, 0.47, 0.57), 0.97, "pass"),
        ((0.61, 0.57, 0.66), 0.97, "fail"),
        ((0.58, 0.52, 0.64), 0.97, "insufficient"),  # its interval reaches the bound
        ((0.52, 0.47, 0.57), 0.70, "insufficient"),  # an audit that finds nothing has shown nothing
    ],
)
def test_a_model_that_knows_its_training_subjects_fails_by_an_audit_that_finds_a_canary(
    store: Store, auc, canary, result
) -> None:
    gate = Gates(enforce=True).membership.model_copy(update={"subjects": 1, "images": 1})
    settings = GatesSettings(gates={"membership": gate}, measured=OF_STEPS["membership"])
    measured = metrics(
        ("membership_auc", "all", auc[0], 0.5, 60, 300, ""), ("canary_auc", "all", canary, 0.5, 40, 16, "")
    ).assign(ci_low=[auc[1], canary], ci_high=[auc[2], canary])
    table = look(settings, run(store, metrics=pd.concat([run(store).metrics, measured], ignore_index=True)))
    (found,) = (gate for gate in outcomes(table) if gate.name == "membership")
    assert found.result == result
