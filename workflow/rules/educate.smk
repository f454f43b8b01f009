# Not part of `all`: only the target `education` asks for it. cases/ and strips/ are no declared outputs, as images/ of
# a release is none.
rule educate:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        samples=shards,
        evaluation=rules.evaluate.output.verdicts,
        limits=rules.evaluate.output.limits,
        strips=lambda wc: list(rules.vary.output) if CONFIG.datasets[wc.dataset].education.along else [],
    output:
        answers=f"{EDUCATE}/answers.csv",
        page=f"{EDUCATE}/README.md",
    log:
        diagnostics(EDUCATE, ".log"),
    benchmark:
        diagnostics(EDUCATE, ".tsv")
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=growing(1000, asked=1, shard=1, image=0.005),
        runtime=growing(20),
    params:
        settings=lambda wc: settings_file("educate", CONFIG.educate(wc.dataset)),
        code=code_of("educate"),
        store=folder_of("store"),
        samples=folder_of("samples"),
        evaluation=folder_of("evaluation"),
        strips=lambda wc, input: ["--strips", os.path.dirname(input.strips[0])] if input.get("strips") else [],
        out=subpath(output.answers, parent=True),
    message:
        "educate: cases of {wildcards.dataset} from {wildcards.model}, answers apart"
    shell:
        "python -m medsynth educate --settings {params.settings:q} --store {params.store:q} --samples {params.samples:q}"
        " --evaluation {params.evaluation:q} {params.strips:q} --out {params.out:q} > {log:q} 2>&1"
