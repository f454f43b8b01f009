# Once and after every release: two writers break a database that is being created, and no training waits for it.
rule log_initialise:
    input:
        [f"{RESULTS}/release/{run}/SHA256SUMS" for run in RUNS],
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
        settings=lambda wc: CONFIG.tracking.model_dump_json(),
        code=fingerprint("log"),
    message:
        "log: make the tracking database ready"
    shell:
        "python -m medsynth log --settings {params.settings:q} --initialise --out {output:q} > {log:q} 2>&1"


rule log:
    input:
        tracking=rules.log_initialise.output,
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
        settings=lambda wc: CONFIG.tracking.model_dump_json(),
        code=fingerprint("log"),
        train=TRAIN,
        evaluation=EVALUATE,
        release=RELEASE,
    message:
        "log {wildcards.dataset} from {wildcards.model} in MLflow"
    shell:
        "python -m medsynth log --settings {params.settings:q} --train {params.train:q}"
        " --evaluation {params.evaluation:q} --release {params.release:q} --out {output:q} > {log:q} 2>&1"
