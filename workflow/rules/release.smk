# Folders are no declared outputs: Snakemake would put a file of its own into them, which goes out with the dataset;
# volumes.html is none, since only volumes have it. Like outputs they are removed first, so that a release that fails
# leaves no images without their table.
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
        "find {params.out:q} -mindepth 1 -maxdepth 1 -type d -exec rm -rf {{}} + && "
        "rm -f {params.out:q}/volumes.html && "
        "python -m medsynth release --settings {params.settings:q} --store {params.store:q} --train {params.train:q}"
        " --sampler {input.sampler:q} --samples {params.samples:q} --evaluation {params.evaluation:q}"
        " --gates {params.gates:q} --measured {input.measured:q} --out {params.out:q} > {log:q} 2>&1"
