"""What SLURM would refuse or nobody would read, said before the first job is sent."""

import difflib
import subprocess

RESOURCES_OF_SLURM = """
    slurm_account slurm_partition slurm_extra slurm_cluster cluster clusters qos constraint nodes runtime
    mem mem_mb mem_mib mem_mb_per_cpu disk disk_mb disk_mib tmpdir gpu gpu_model gres
    mpi tasks tasks_per_node tasks_per_gpu cpus_per_task cpus_per_gpu
""".split()
SHOWN = (
    "slurm_account",
    "slurm_partition",
    "qos",
    "constraint",
    "nodes",
    "gpu",
    "gpu_model",
    "gres",
    "mem_mb",
    "runtime",
)


def refuse_misspelt_resources() -> None:
    """Snakemake takes any name of a rule and of a resource, and what nobody asks for has no effect."""
    settings = workflow.resource_settings
    rules_set = {**(settings.overwrite_threads or {}), **(settings.overwrite_resources or {})}
    refuse_unknown("rule", rules_set, [rule.name for rule in workflow.rules])
    names = {name for chosen in (settings.overwrite_resources or {}).values() for name in chosen}
    names |= set(settings.default_resources or ())
    refuse_unknown("resource", names, [*RESOURCES_OF_SLURM, "processes", *workflow.global_resources])


def refuse_unknown(what: str, names, known: list[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise WorkflowError(
                f"set-resources, set-threads or default-resources: unknown {what} {name!r}, did you mean {near[0]!r}?"
            )


def refuse_impossible_jobs() -> None:
    """Have sbatch test each kind of job, in its first attempt and its last, by the very command that will submit it."""
    if not (workflow.is_main_process and workflow.executor_plugin.name == "slurm"):
        return
    asked = {}
    for job in workflow.dag.needrun_jobs():
        for attempt in (1, workflow.execution_settings.retries + 1):
            if not job.is_local:
                job.attempt = attempt
                shown = {name: job.resources.get(name) for name in SHOWN} | {"threads": job.threads}
                asked[submit_command(job)] = f"attempt {attempt} of rule {job.rule.name}", shown
                job.attempt = 1
    for command, (what, shown) in asked.items():
        done = subprocess.run(f"{command} --test-only --wrap true", shell=True, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "sbatch said nothing").splitlines()[-1]
            wanted = ", ".join(f"{name}={value}" for name, value in shown.items() if value)
            raise WorkflowError(f"SLURM has no place for {what}: {reason}; it asks for {wanted}")


def submit_command(job) -> str:
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    chosen = {flag: job.resources.get(f"slurm_{flag}") for flag in ("account", "partition")}
    named = {flag: f"--{flag} {shlex.quote(str(value))}" if value else "" for flag, value in chosen.items()}
    fixed = {"run_uuid": "test", "slurm_logfile": os.devnull, "comment_str": job.rule.name, "workdir": None}
    return get_submit_command(job, fixed | named, workflow.executor_settings) + set_gres_string(job)


if workflow.modifier.is_main_snakefile():  # as a module, it does not know the other rules
    refuse_misspelt_resources()
