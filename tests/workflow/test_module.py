"""The workflow in other hands: as a module of another one, and as the workflow catalog runs it."""

import re
from pathlib import Path

import yaml

from tests.workflow.conftest import ROOT, snakemake
from tests.workflow.test_dag import planned

SNAKEFILE = """
configfile: "config.yaml"


module medsynth:
    snakefile:
        "{root}/workflow/Snakefile"
    config:
        config["images"]


use rule * from medsynth as medsynth_*


rule count:
    default_target: True
    input:
        "results/prepare/tiny/samples.csv",
    output:
        "count.txt",
    shell:
        "wc -l < {{input}} > {{output}}"
"""


def test_another_workflow_can_use_it_as_a_module(tmp_path: Path) -> None:
    images = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    images["datasets"]["tiny"]["source"]["count"] = 60
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"images": images}, sort_keys=False))
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text(SNAKEFILE.format(root=ROOT))
    here = ["--directory", tmp_path]
    jobs = planned(snakemake(tmp_path, *here, "-n", "medsynth_all"))
    assert jobs["medsynth_train"] == len(images["models"]) and jobs["medsynth_track"] == len(images["models"])
    assert planned(snakemake(tmp_path, *here, "-n")) == {"medsynth_prepare": 1, "count": 1}
    # A rule of the other workflow is none that the module would take for misspelt.
    done = snakemake(tmp_path, *here, "--cores", "1", "--set-threads", "count=1")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "count.txt").read_text().strip() == "61"


def test_the_catalogs_test_folder_is_planned_without_naming_a_configuration() -> None:
    jobs = planned(snakemake(ROOT, "-n", "--directory", ROOT / ".test"))
    assert jobs["train"] == 2 and jobs["prepare"] == 1


def test_the_catalog_is_told_how_software_comes() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["software-stack-deployment"] == {"conda": True, "apptainer": False, "apptainer+conda": False}
    assert usage["report"] is True
    rules = "".join(path.read_text() for path in ROOT.glob("workflow/rules/*.smk"))
    assert len(re.findall(r"^    conda:", rules, re.MULTILINE)) == len(re.findall(r"^rule ", rules, re.MULTILINE))
