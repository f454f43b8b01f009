def releases_to_wait_for(wildcards) -> list[str]:
    """All releases, since after a failure no other step is started, and an outage of tracking may cost no training.

    None with --keep-going: then nothing else stops for tracking, and tracking does not stop for a run that failed.
    """
    settings = workflow.execution_settings
    keeps_going = settings is not None and settings.keep_going
    return [] if keeps_going else [f"{RESULTS}/release/{run}/SHA256SUMS" for run in RUNS]


# Once before all runs: two writers break a database that is being created, and all runs stand below the one made here.
rule track_initialise:
    input:
        releases_to_wait_for,
    output:
        f"{RESULTS}/track/initialised.json",
    log:
        diagnostics(f"{RESULTS}/track/initialised", ".log"),
    benchmark:
        diagnostics(f"{RESULTS}/track/initialised", ".tsv")
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wc: CONFIG.track().model_dump_json(),
        code=fingerprint("track"),
    message:
        "track: make the tracking database ready"
    shell:
        "python -m medsynth track --settings {params.settings:q} --initialise --out {output:q} > {log:q} 2>&1"


rule track:
    input:
        initialised=rules.track_initialise.output,
        store=rules.prepare.output.info,
        data=STORE_DATA,
        train=rules.train.output,
        evaluation=rules.evaluate.output,
        release=rules.release.output,
    output:
        f"{TRACK}.json",
    log:
        diagnostics(TRACK, ".log"),
    benchmark:
        diagnostics(TRACK, ".tsv")
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wc: CONFIG.track().model_dump_json(),
        code=code_of("track"),
        store=PREPARE,
        train=TRAIN,
        evaluation=EVALUATE,
        release=RELEASE,
    message:
        "track {wildcards.dataset} from {wildcards.model} in MLflow"
    shell:
        "python -m medsynth track --settings {params.settings:q} --initialised {input.initialised:q}"
        " --store {params.store:q} --train {params.train:q} --evaluation {params.evaluation:q}"
        " --release {params.release:q} --out {output:q} > {log:q} 2>&1"
