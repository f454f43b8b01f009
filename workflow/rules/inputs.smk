"""What rules read, where it follows from the configuration; and the files that are refused before anything runs."""

import time

# In the columns of metrics.csv, of steps that run where the configuration has their section.
MEASURED = {"utility": f"{UTILITY}/gain.csv", "membership": f"{MEMBERSHIP}/membership.csv"}
MEASURED_BESIDES = [table for step, table in MEASURED.items() if getattr(CONFIG, step)]
CLOCK_TOLERANCE = 60  # s that the clocks of a cluster may differ by


def table_of(source) -> list[str]:
    """The table that a source or a request reads, as an input; its path counts from data_root."""
    reads_table = isinstance(source, (schema.TableSource, schema.PlanTable))
    return [str(Path(CONFIG.data_root) / source.table)] if reads_table else []


def refuse_missing_tables() -> None:
    for name, dataset in CONFIG.datasets.items():
        for table in table_of(dataset.source):
            if not os.path.isfile(table):
                raise WorkflowError(
                    f"config: datasets.{name}.source.table: {table}: no such file; tables count from data_root, "
                    "which `--config data_root=FOLDER` sets"
                )


def refuse_bad_plans() -> None:
    """Refuse a plan's table that cannot be used before anything is trained; one that is not there yet, `sample` reads."""
    for name, dataset in CONFIG.datasets.items():
        for table in filter(os.path.isfile, table_of(dataset.plan.request)):
            from medsynth.conditions.requests import read_requests  # brings numpy, which no other start needs
            from medsynth.conditions.schema import ConditionSchema

            try:
                read_requests(Path(table), ConditionSchema(dataset.conditions, len(dataset.size)))
            except InputError as error:
                raise WorkflowError(f"config: datasets.{name}.plan.request.table: {error}") from None


def refuse_times_to_come() -> None:
    """Refuse files from the future before anything runs: Snakemake deletes whatever a job makes from them."""
    sources = [part for dataset in CONFIG.datasets.values() for part in (dataset.source, dataset.plan.request)]
    files = [Path(table) for source in sources for table in table_of(source)]
    for step in STEPS:
        files += sorted(Path(RESULTS).glob(f"{step}/*/*")) + sorted(Path(RESULTS).glob(f"{step}/*/*/*"))
    for file in files:
        if file.exists() and (ahead := file.stat().st_mtime - time.time()) > CLOCK_TOLERANCE:
            raise WorkflowError(
                f"{file} was last changed {ahead:.0f} s in the future, what is made from it would seem out of date: "
                "set the clock right or `touch` the file"
            )


def parent_weights(wildcards) -> dict[str, str]:
    """What a model begins from or learns from, by role: weights, model.json, and the sampler where that is learnt."""
    inputs = {}
    for role, (dataset, model) in CONFIG.parents(wildcards.dataset, wildcards.model).items():
        inputs[role] = f"{TRAIN}/model.safetensors".format(dataset=dataset, model=model)
        inputs[f"{role}_info"] = f"{TRAIN}/model.json".format(dataset=dataset, model=model)
        if CONFIG.models[wildcards.model].roles[role].sampled:  # a student learns from what tune chose for its teacher
            inputs[f"{role}_sampler"] = f"{TUNE}/sampler.json".format(dataset=dataset, model=model)
    return inputs


def parent_arguments(wildcards, input) -> list[str]:
    roles = CONFIG.parents(wildcards.dataset, wildcards.model)
    given = {"--parent": "", "--sampler": "_sampler"}
    return [
        part
        for role in roles
        for option, suffix in given.items()
        if role + suffix in input.keys()
        for part in (option, f"{role}={input[role + suffix]}")
    ]


def shards(wildcards) -> list[str]:
    """The files of every shard of one dataset and model."""
    count = CONFIG.datasets[wildcards.dataset].plan.shards
    return expand(list(rules.sample.output), shard=range(count), allow_missing=True)


def education_answers(wildcards) -> list[str]:
    """What the target `education` makes, of the datasets that ask for it."""
    runs = [f"{dataset}/{model}" for dataset, model in CONFIG.runs() if CONFIG.datasets[dataset].education]
    if not runs:
        raise WorkflowError("config: no dataset has the section `education`, there is nothing to make for teaching")
    return [f"{RESULTS}/educate/{run}/answers.csv" for run in runs]


def releases_to_wait_for(wildcards) -> list[str]:
    """All releases, since after a failure no other step is started, and an outage of tracking may cost no training.

    None with --keep-going: then nothing else stops for tracking, and tracking does not stop for a run that failed.
    """
    settings = workflow.execution_settings
    keeps_going = settings is not None and settings.keep_going
    return [] if keeps_going else [f"{RESULTS}/release/{run}/SHA256SUMS" for run in RUNS]


if workflow.is_main_process:
    refuse_missing_tables()
    refuse_bad_plans()
