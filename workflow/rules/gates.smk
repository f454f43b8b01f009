# Ends well where a gate fails too: gates.csv stays, to be looked at, and `release` refuses.
rule gates:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        train=rules.train.output,
        sampler=rules.tune.output.sampler,
        samples=shards,
        evaluation=rules.evaluate.output,
        measured=MEASURED_BESIDES,
    output:
        report(
            f"{GATES}/gates.csv",
            caption="../report/gates.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "gates"},
        ),
    log:
        diagnostics(GATES, ".log"),
    benchmark:
        diagnostics(GATES, ".tsv")
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=growing(1000, asked=1, shard=1, image=0.005),
        runtime=growing(20, stored=0.01, asked=0.02),
    params:
        settings=lambda wc: settings_file("gates", CONFIG.judge(wc.dataset)),
        code=code_of("gates"),
        store=folder_of("store"),
        train=folder_of("train"),
        samples=folder_of("samples"),
        evaluation=folder_of("evaluation"),
        out=subpath(output[0], parent=True),
    message:
        "gates {wildcards.dataset} from {wildcards.model}"
    shell:
        "python -m medsynth gates --settings {params.settings:q} --store {params.store:q} --train {params.train:q}"
        " --sampler {input.sampler:q} --samples {params.samples:q} --evaluation {params.evaluation:q}"
        " --measured {input.measured:q} --out {params.out:q} > {log:q} 2>&1"
