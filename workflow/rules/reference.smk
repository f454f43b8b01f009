rule reference:
    input:
        store=rules.prepare.output.info,
        data=STORE_DATA,
    output:
        tensors=f"{REFERENCE}/reference.safetensors",
        record=f"{REFERENCE}/reference.json",
        readings=f"{REFERENCE}/readings.csv",
    log:
        diagnostics(REFERENCE, ".log"),
    benchmark:
        diagnostics(REFERENCE, ".tsv")
    conda:
        CONDA_ENV
    threads: 4
    resources:
        mem_mb=growing(3000, stored=2, real=0.04),
        runtime=reference_minutes,
    params:
        settings=lambda wc: settings_file("reference", CONFIG.reference(wc.dataset)),
        code=code_of("reference"),
        store=folder_of("store"),
        out=subpath(output.record, parent=True),
    message:
        "reference {wildcards.dataset}: what is known of its real images"
    shell:
        "python -m medsynth reference --settings {params.settings:q} --store {params.store:q} --out {params.out:q}"
        " > {log:q} 2>&1"
