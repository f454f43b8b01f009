# Part of `all` where the configuration has the section `membership`. The model is asked, so it has what `sample` has.
rule membership:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        checkpoint=rules.train.output.weights,
        info=rules.train.output.info,
    output:
        summary=report(
            f"{MEMBERSHIP}/membership.csv",
            caption="../report/membership.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "membership inference"},
        ),
        scores=f"{MEMBERSHIP}/scores.csv",
        figure=report(
            f"{MEMBERSHIP}/membership.png",
            caption="../report/membership.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "training against held-out subjects"},
        ),
    log:
        diagnostics(MEMBERSHIP, ".log"),
    benchmark:
        diagnostics(MEMBERSHIP, ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, stored=1),
        runtime=membership_minutes,
        gpu=0,
        nodes=1,
    params:
        settings=lambda wc: settings_file("membership", CONFIG.audit()),
        code=code_of("membership"),
        store=folder_of("store"),
        out=subpath(output.summary, parent=True),
    message:
        "membership of {wildcards.dataset} from {wildcards.model}: whether training images are told from held-out ones"
    shell:
        "python -m medsynth membership --settings {params.settings:q} --store {params.store:q}"
        " --checkpoint {input.checkpoint:q} --out {params.out:q} > {log:q} 2>&1"
