# Not part of `all`: only the target `education` asks for it. The model draws, so it has what `sample` has.
rule vary:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        reference=rules.reference.output,
        checkpoint=rules.train.output.weights,
        info=rules.train.output.info,
        sampler=rules.tune.output.sampler,
        samples=shards,
    output:
        frames=f"{VARY}/vary.csv",
        strips=f"{VARY}/strips.csv",
    log:
        diagnostics(VARY, ".log"),
    benchmark:
        diagnostics(VARY, ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, stored=1, shard=2, image=0.005),
        runtime=growing(30),
        gpu=0,
        nodes=1,
    params:
        code=code_of("vary"),
        results=lambda wc: RESULTS,
        out=subpath(output.frames, parent=True),
        subjects=lambda wc: [f"--subject {n}" for n in range(CONFIG.datasets[wc.dataset].education.subjects)],
        along=lambda wc: [f"--along={shlex.quote(text)}" for text in CONFIG.datasets[wc.dataset].education.along],
        held=lambda wc: "" if CONFIG.datasets[wc.dataset].education.held_outside else "--no-held-outside",
    message:
        "vary {wildcards.dataset} from {wildcards.model}: strips along a condition"
    shell:
        "python -m medsynth vary {wildcards.dataset}/{wildcards.model} --results {params.results:q} {params.subjects}"
        " {params.along} {params.held} --out {params.out:q} > {log:q} 2>&1"
