rule evaluate:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        reference=rules.reference.output,
        train=rules.train.output,
        samples=shards,
    output:
        metrics=report(
            f"{EVALUATE}/metrics.csv",
            caption="../report/metrics.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "metrics"},
        ),
        verdicts=f"{EVALUATE}/samples.csv",
        limits=f"{EVALUATE}/copy_limits.csv",
        contact_sheet=report(
            f"{EVALUATE}/contact_sheet.png",
            caption="../report/contact_sheet.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "real and synthetic images"},
        ),
        curves=report(
            f"{EVALUATE}/curves.png",
            caption="../report/curves.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "training curves"},
        ),
        adherence=report(
            f"{EVALUATE}/adherence.png",
            caption="../report/adherence.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "asked and read"},
        ),
        nearest=report(
            f"{EVALUATE}/nearest.png",
            caption="../report/nearest.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "nearest training images"},
        ),
    log:
        diagnostics(EVALUATE, ".log"),
    benchmark:
        diagnostics(EVALUATE, ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, stored=1, asked=1, shard=1, image=0.02),
        runtime=evaluation_minutes,
    params:
        settings=lambda wc: settings_file("evaluate", CONFIG.evaluate(wc.dataset)),
        code=code_of("evaluate"),
        store=folder_of("store"),
        reference=folder_of("reference"),
        train=folder_of("train"),
        samples=folder_of("samples"),
        out=subpath(output.metrics, parent=True),
    message:
        "evaluate {wildcards.dataset} from {wildcards.model}: a verdict for each sample"
    shell:
        "python -m medsynth evaluate --settings {params.settings:q} --store {params.store:q}"
        " --reference {params.reference:q} --train {params.train:q} --samples {params.samples:q} --out {params.out:q} > {log:q} 2>&1"
