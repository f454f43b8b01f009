rule sample:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        checkpoint=rules.train.output.weights,
        info=rules.train.output.info,
        plan=lambda wc: table_of(CONFIG.datasets[wc.dataset].plan.request),
    output:
        images=f"{SAMPLE}/shard_{{shard}}.npy",
        rows=f"{SAMPLE}/shard_{{shard}}.csv",
        record=f"{SAMPLE}/shard_{{shard}}.json",
    log:
        diagnostics(SAMPLE, "/shard_{shard}.log"),
    benchmark:
        diagnostics(SAMPLE, "/shard_{shard}.tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, shard=2, image=0.005),
        runtime=growing(20, shard=0.2),
        gpu=0,
        nodes=1,
    params:
        settings=lambda wc: CONFIG.sample(wc.dataset, wc.model).model_dump_json(),
        code=code_of("sample"),
        store=PREPARE,
    message:
        "sample {wildcards.dataset} from {wildcards.model}, shard {wildcards.shard}"
    shell:
        "python -m medsynth sample --settings {params.settings:q} --store {params.store:q}"
        " --checkpoint {input.checkpoint:q} --shard {wildcards.shard} --out {output.images:q} > {log:q} 2>&1"


def shards(wildcards) -> list[str]:
    """The files of every shard of one dataset and model."""
    count = CONFIG.datasets[wildcards.dataset].plan.shards
    return expand(list(rules.sample.output), shard=range(count), allow_missing=True)


def refuse_bad_plans() -> None:
    """Refuse a plan's table that cannot be used before anything is trained; one that is not there yet, `sample` reads."""
    from medsynth.conditions.requests import read_requests
    from medsynth.conditions.schema import ConditionSchema

    for name, dataset in CONFIG.datasets.items():
        for table in filter(os.path.isfile, table_of(dataset.plan.request)):
            try:
                read_requests(Path(table), ConditionSchema(dataset.conditions, len(dataset.size)))
            except InputError as error:
                raise WorkflowError(f"config: datasets.{name}.plan.request.table: {error}") from None


if workflow.is_main_process:
    refuse_bad_plans()
