# Folders are no declared outputs: Snakemake would put a file of its own into them, which goes out with the dataset. The
# forms that a dataset chooses and volumes.html are none either. All is removed first: a release that fails leaves nothing
# of another.
rule release:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
        train=rules.train.output,
        sampler=rules.tune.output.sampler,
        samples=shards,
        evaluation=rules.evaluate.output,
        measured=MEASURED_BESIDES,
        gates=rules.gates.output,
    output:
        sums=f"{RELEASE}/SHA256SUMS",
        table=f"{RELEASE}/metadata.csv",
        rejected=f"{RELEASE}/rejected.csv",
        split=f"{RELEASE}/real_split.csv",
        gates=f"{RELEASE}/gates.csv",
        generator=f"{RELEASE}/generator.json",
        card=f"{RELEASE}/README.md",
        gallery=f"{RELEASE}/gallery.html",
        schema=f"{RELEASE}/metadata.schema.json",
    log:
        diagnostics(RELEASE, ".log"),
    benchmark:
        diagnostics(RELEASE, ".tsv")
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=growing(1000, asked=1, shard=1, image=0.005),
        runtime=growing(20, stored=0.01, asked=0.02),
    params:
        settings=lambda wc: settings_file("release", CONFIG.release(wc.dataset)),
        code=code_of("release"),
        store=folder_of("store"),
        train=folder_of("train"),
        samples=folder_of("samples"),
        evaluation=folder_of("evaluation"),
        gates=folder_of("gates"),
        out=subpath(output.sums, parent=True),
    message:
        "release {wildcards.dataset} from {wildcards.model}"
    shell:
        "find -H {params.out:q} -mindepth 1 -delete && "
        "python -m medsynth release --settings {params.settings:q} --store {params.store:q} --train {params.train:q}"
        " --sampler {input.sampler:q} --samples {params.samples:q} --evaluation {params.evaluation:q}"
        " --gates {params.gates:q} --measured {input.measured:q} --out {params.out:q} > {log:q} 2>&1"
