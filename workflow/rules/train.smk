# A declared output is deleted before a rerun, so training resumes from <out>/checkpoints/, which is not declared.
# exec: a time limit signals every process, and a shell that died of it would end the job before training has saved.
rule train:
    input:
        unpack(parent_weights),
        store=rules.prepare.output.info,
        data=STORE_DATA,
    output:
        weights=f"{TRAIN}/model.safetensors",
        info=f"{TRAIN}/model.json",
        history=f"{TRAIN}/history.csv",
        reconstructions=f"{TRAIN}/reconstructions.safetensors",
        strip=report(
            f"{TRAIN}/strip.png",
            caption="../report/strip.rst",
            category="{dataset}",
            labels={"model": "{model}", "what": "samples over the training"},
        ),
    log:
        diagnostics(TRAIN, ".log"),
    benchmark:
        diagnostics(TRAIN, ".tsv")
    conda:
        CONDA_ENV
    threads: 8
    resources:
        mem_mb=growing(3000, stored=1),
        runtime=training_minutes,
        gpu=0,
        nodes=1,
        processes=1,
    params:
        launch=launcher,
        settings=lambda wc: settings_file("train", CONFIG.train(wc.dataset, wc.model)),
        code=code_of("train"),
        store=folder_of("store"),
        out=subpath(output.weights, parent=True),
        parents=parent_arguments,
    message:
        "train {wildcards.model} on {wildcards.dataset}"
    shell:
        "exec {params.launch} -m medsynth train --settings {params.settings:q} --store {params.store:q} --out {params.out:q}"
        " {params.parents:q} > {log:q} 2>&1"
