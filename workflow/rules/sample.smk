rule sample:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        checkpoint=rules.train.output.weights,
        info=rules.train.output.info,
        sampler=rules.tune.output.sampler,
        plan=lambda wc: table_of(CONFIG.datasets[wc.dataset].plan.request),
    output:
        images=f"{SAMPLE}/shard_{{shard}}.npy",
        rows=f"{SAMPLE}/shard_{{shard}}.csv",
        record=f"{SAMPLE}/shard_{{shard}}.json",
    log:
        diagnostics(f"{SAMPLE}/shard_{{shard}}", ".log"),
    benchmark:
        diagnostics(f"{SAMPLE}/shard_{{shard}}", ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, shard=2, image=0.005),
        runtime=growing(20, shard=0.2),
        gpu=0,
        nodes=1,
    params:
        settings=lambda wc: settings_file("sample", CONFIG.sample(wc.dataset, wc.model)),
        code=code_of("sample"),
        store=folder_of("store"),
    message:
        "sample {wildcards.dataset} from {wildcards.model}, shard {wildcards.shard}"
    shell:
        "python -m medsynth sample --settings {params.settings:q} --store {params.store:q}"
        " --checkpoint {input.checkpoint:q} --sampler {input.sampler:q} --shard {wildcards.shard} --out {output.images:q}"
        " > {log:q} 2>&1"
