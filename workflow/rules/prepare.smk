rule prepare:
    input:
        table=lambda wc: table_of(CONFIG.datasets[wc.dataset].source),
    output:
        info=f"{PREPARE}/store.json",
        images=f"{PREPARE}/images.npy",
        samples=f"{PREPARE}/samples.csv",
        split=f"{PREPARE}/split.csv",
        quarantine=f"{PREPARE}/quarantine.csv",
        duplicates=f"{PREPARE}/duplicates.csv",
    log:
        diagnostics(PREPARE, ".log"),
    benchmark:
        diagnostics(PREPARE, ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(2000, stored=0.5),
        runtime=growing(20, stored=0.1),
    params:
        settings=lambda wc: settings_file("prepare", CONFIG.prepare(wc.dataset)),
        code=code_of("prepare"),
        out=subpath(output.info, parent=True),
    message:
        "prepare {wildcards.dataset}: check, split and store its images"
    shell:
        "python -m medsynth prepare --settings {params.settings:q} --threads {threads} --out {params.out:q} > {log:q} 2>&1"


# Inputs of every step after it. Whether they changed, the digest in store.json says: it alone makes a step run again.
STORE_DATA = ancient([rules.prepare.output.images, rules.prepare.output.samples, rules.prepare.output.split])
