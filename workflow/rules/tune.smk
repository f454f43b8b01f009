rule tune:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        reference=rules.reference.output,
        checkpoint=rules.train.output.weights,
        info=rules.train.output.info,
    output:
        sampler=f"{TUNE}/sampler.json",
        tried=f"{TUNE}/tried.csv",
        figure=report(
            f"{TUNE}/tried.png",
            caption="../report/tried.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "sampler settings tried"},
        ),
        contact_sheet=report(
            f"{TUNE}/contact_sheet.png",
            caption="../report/tuned.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "images by the chosen sampler"},
        ),
    log:
        diagnostics(TUNE, ".log"),
    benchmark:
        diagnostics(TUNE, ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, stored=1),
        runtime=tuning_minutes,
        gpu=0,
        nodes=1,
    params:
        settings=lambda wc: settings_file("tune", CONFIG.tune(wc.dataset, wc.model)),
        code=code_of("tune"),
        store=folder_of("store"),
        reference=folder_of("reference"),
        out=subpath(output.sampler, parent=True),
    message:
        "tune {wildcards.dataset} from {wildcards.model}: how it is sampled"
    shell:
        "python -m medsynth tune --settings {params.settings:q} --store {params.store:q}"
        " --reference {params.reference:q} --checkpoint {input.checkpoint:q} --out {params.out:q} > {log:q} 2>&1"
