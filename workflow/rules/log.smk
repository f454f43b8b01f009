def releases_to_wait_for(wildcards) -> list[str]:
    """All releases, since after a failure no other step is started, and an outage of tracking may cost no training.

    None with --keep-going: then nothing else stops for tracking, and tracking does not stop for a run that failed.
    """
    settings = workflow.execution_settings
    keeps_going = settings is not None and settings.keep_going
    return [] if keeps_going else [f"{RESULTS}/release/{run}/SHA256SUMS" for run in RUNS]


# Once before all runs: two writers break a database that is being created, and all runs stand below the one made here.
rule log_initialise:
    input:
        releases_to_wait_for,
    output:
        f"{RESULTS}/log/tracking.json",
    log:
        f"{DIAGNOSTICS}/log/tracking.log",
    benchmark:
        f"{DIAGNOSTICS}/log/tracking.tsv"
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wc: CONFIG.log().model_dump_json(),
        code=fingerprint("log"),
    message:
        "log: make the tracking database ready"
    shell:
        "python -m medsynth log --settings {params.settings:q} --initialise --out {output:q} > {log:q} 2>&1"


rule log:
    input:
        initialised=rules.log_initialise.output,
        store=rules.prepare.output,
        train=rules.train.output,
        evaluation=rules.evaluate.output,
        release=rules.release.output,
    output:
        f"{RESULTS}/log/{{dataset}}/{{model}}.json",
    log:
        f"{DIAGNOSTICS}/log/{{dataset}}/{{model}}.log",
    benchmark:
        f"{DIAGNOSTICS}/log/{{dataset}}/{{model}}.tsv"
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wc: CONFIG.log().model_dump_json(),
        code=fingerprint("log"),
        store=PREPARE,
        train=TRAIN,
        evaluation=EVALUATE,
        release=RELEASE,
    message:
        "log {wildcards.dataset} from {wildcards.model} in MLflow"
    shell:
        "python -m medsynth log --settings {params.settings:q} --initialised {input.initialised:q}"
        " --store {params.store:q} --train {params.train:q} --evaluation {params.evaluation:q}"
        " --release {params.release:q} --out {output:q} > {log:q} 2>&1"
