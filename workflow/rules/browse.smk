# Before `release`: where a gate stops that, the page is what to look at.
rule browse:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        samples=shards,
        evaluation=rules.evaluate.output,
        gates=rules.gates.output,
    output:
        f"{BROWSE}/gallery.html",
    log:
        diagnostics(BROWSE, ".log"),
    benchmark:
        diagnostics(BROWSE, ".tsv")
    priority: 1
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=growing(1000, asked=1, shard=1, image=0.01),
        runtime=growing(20, stored=0.01, asked=0.02),
    params:
        code=code_of("browse"),
        store=folder_of("store"),
        samples=folder_of("samples"),
        evaluation=folder_of("evaluation"),
        gates=folder_of("gates"),
    message:
        "browse {wildcards.dataset} from {wildcards.model}: a page of all samples"
    shell:
        "python -m medsynth browse --store {params.store:q} --samples {params.samples:q}"
        " --evaluation {params.evaluation:q} --gates {params.gates:q} --out {output:q} > {log:q} 2>&1"
