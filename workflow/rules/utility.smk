# Part of `all` where the configuration has the section `utility`.
rule utility:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        samples=shards,
        evaluation=rules.evaluate.output.verdicts,
    output:
        summary=report(
            f"{UTILITY}/utility.csv",
            caption="../report/utility.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "utility to a classifier"},
        ),
        trials=f"{UTILITY}/trials.csv",
        gain=f"{UTILITY}/gain.csv",
        figure=report(
            f"{UTILITY}/utility.png",
            caption="../report/utility.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "dose and response"},
        ),
    log:
        diagnostics(UTILITY, ".log"),
    benchmark:
        diagnostics(UTILITY, ".tsv")
    conda:
        CONDA_ENV
    threads: 2
    resources:
        mem_mb=growing(2000, stored=1, asked=1, shard=1, image=0.01),
        runtime=growing(60),
    params:
        settings=lambda wc: settings_file("utility", CONFIG.worth(wc.dataset)),
        code=code_of("utility"),
        store=folder_of("store"),
        samples=folder_of("samples"),
        evaluation=folder_of("evaluation"),
        out=subpath(output.summary, parent=True),
    message:
        "utility of {wildcards.dataset} from {wildcards.model}: classifiers with and without samples"
    shell:
        "python -m medsynth utility --settings {params.settings:q} --store {params.store:q} --samples {params.samples:q}"
        " --evaluation {params.evaluation:q} --out {params.out:q} > {log:q} 2>&1"
