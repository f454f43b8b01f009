def parent_weights(wildcards) -> dict[str, str]:
    """The weights that a model begins from or learns from, by role, and the model.json beside them."""
    parents = CONFIG.parents(wildcards.dataset, wildcards.model).items()
    files = {"": "model.safetensors", "_info": "model.json"}
    return {
        role + part: f"{TRAIN}/{file}".format(dataset=dataset, model=model)
        for role, (dataset, model) in parents
        for part, file in files.items()
    }


def parent_arguments(wildcards, input) -> list[str]:
    roles = CONFIG.parents(wildcards.dataset, wildcards.model)
    return [part for role in roles for part in ("--parent", f"{role}={input[role]}")]


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
        settings=lambda wc: CONFIG.train(wc.model).model_dump_json(),
        code=code_of("train"),
        store=PREPARE,
        out=TRAIN,
        parents=parent_arguments,
    message:
        "train {wildcards.model} on {wildcards.dataset}"
    shell:
        "exec {params.launch} -m medsynth train --settings {params.settings:q} --store {params.store:q} --out {params.out:q}"
        " {params.parents:q} > {log:q} 2>&1"
