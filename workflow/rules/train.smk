def teacher_weights(wildcards) -> dict[str, str]:
    """The weights that a model learns from, and what vouches for them; nothing for a model without a teacher."""
    teacher = getattr(CONFIG.models[wildcards.model], "teacher", None)
    parts = {"teacher": "model.safetensors", "teacher_info": "model.json"} if teacher else {}
    return {name: f"{TRAIN}/{file}".format(dataset=wildcards.dataset, model=teacher) for name, file in parts.items()}


# A declared output is deleted before a rerun, so training resumes from <out>/checkpoints/, which is not declared.
# exec: a time limit signals every process, and a shell that died of it would end the job before training has saved.
rule train:
    input:
        unpack(teacher_weights),
        store=rules.prepare.output,
    output:
        weights=f"{TRAIN}/model.safetensors",
        info=f"{TRAIN}/model.json",
        history=f"{TRAIN}/history.csv",
    log:
        f"{DIAGNOSTICS}/train/{{dataset}}/{{model}}.log",
    benchmark:
        f"{DIAGNOSTICS}/train/{{dataset}}/{{model}}.tsv"
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
        code=fingerprint("train"),
        store=PREPARE,
        out=TRAIN,
        teacher=lambda wc, input: ["--teacher", input.teacher] if "teacher" in input.keys() else [],
    message:
        "train {wildcards.model} on {wildcards.dataset}"
    shell:
        "exec {params.launch} -m medsynth train --settings {params.settings:q} --store {params.store:q} --out {params.out:q}"
        " {params.teacher:q} > {log:q} 2>&1"
