rule release:
    input:
        store=rules.prepare.output,
        train=rules.train.output,
        samples=shards,
        evaluation=rules.evaluate.output,
    output:
        sums=f"{RELEASE}/SHA256SUMS",
        table=f"{RELEASE}/metadata.csv",
        rejected=f"{RELEASE}/rejected.csv",
        generator=f"{RELEASE}/generator.json",
        card=f"{RELEASE}/README.md",
        images=directory(f"{RELEASE}/images"),
    log:
        f"{DIAGNOSTICS}/release/{{dataset}}/{{model}}.log",
    benchmark:
        f"{DIAGNOSTICS}/release/{{dataset}}/{{model}}.tsv"
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=growing(1000, asked=1, shard=1, image=0.005),
        runtime=growing(20, stored=0.01, asked=0.02),
    params:
        code=fingerprint("release"),
        store=PREPARE,
        train=TRAIN,
        samples=SAMPLE,
        evaluation=EVALUATE,
        out=RELEASE,
    message:
        "release {wildcards.dataset} from {wildcards.model}"
    shell:
        "python -m medsynth release --store {params.store:q} --train {params.train:q} --samples {params.samples:q}"
        " --evaluation {params.evaluation:q} --out {params.out:q} > {log:q} 2>&1"
