# Once before all runs: two writers break a database that is being created, and all runs stand below the one made here.
rule track_initialise:
    input:
        releases_to_wait_for,
    output:
        f"{RESULTS}/track/initialised.json",
    log:
        diagnostics(f"{RESULTS}/track/initialised", ".log"),
    benchmark:
        diagnostics(f"{RESULTS}/track/initialised", ".tsv")
    localrule: True
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wc: settings_file("track", CONFIG.track()),
        code=fingerprint("track"),
    message:
        "track: make the tracking database ready"
    shell:
        "python -m medsynth track --settings {params.settings:q} --initialise --out {output:q} > {log:q} 2>&1"


rule track:
    input:
        initialised=rules.track_initialise.output,
        store=rules.prepare.output.info,
        data=STORE_DATA,
        train=rules.train.output,
        tune=rules.tune.output,
        evaluation=rules.evaluate.output,
        release=rules.release.output,
        measured=MEASURED_BESIDES,
    output:
        f"{TRACK}.json",
    log:
        diagnostics(TRACK, ".log"),
    benchmark:
        diagnostics(TRACK, ".tsv")
    localrule: True
    conda:
        CONDA_ENV
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda wc: settings_file("track", CONFIG.track()),
        code=code_of("track"),
        store=folder_of("store"),
        train=folder_of("train"),
        tune=folder_of("tune"),
        evaluation=folder_of("evaluation"),
        release=folder_of("release"),
    message:
        "track {wildcards.dataset} from {wildcards.model} in MLflow"
    shell:
        "python -m medsynth track --settings {params.settings:q} --initialised {input.initialised:q}"
        " --store {params.store:q} --train {params.train:q} --tune {params.tune:q} --evaluation {params.evaluation:q}"
        " --release {params.release:q} --measured {input.measured:q} --out {output:q} > {log:q} 2>&1"
