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
    refuse_unknown("resource", names, [*RESOURCES_OF_SLURM, *workflow.global_resources])


def refuse_unknown(what: str, names, known: list[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise WorkflowError(
                f"set-resources, set-threads or default-resources: unknown {what} {name!r}, did you mean {near[0]!r}?"
            )


def refuse_impossible_jobs(jobs) -> None:
    """Have sbatch test each kind of job without submitting it, by the very command that will submit it."""
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    asked = {}
    for job in jobs:
        if not job.is_local:
            flags = {"account": "slurm_account", "partition": "slurm_partition"}
            chosen = {flag: job.resources.get(name) for flag, name in flags.items()}
            named = {flag: f"--{flag} {shlex.quote(str(value))}" if value else "" for flag, value in chosen.items()}
            fixed = {"run_uuid": "test", "slurm_logfile": os.devnull, "comment_str": job.rule.name, "workdir": None}
            command = get_submit_command(job, fixed | named, workflow.executor_settings) + set_gres_string(job)
            asked.setdefault(command, job)
    for command, job in asked.items():
        done = subprocess.run(f"{command} --test-only --wrap true", shell=True, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip() or "sbatch said nothing").splitlines()[-1]
            wanted = {"threads": job.threads} | {name: job.resources.get(name) for name in SHOWN}
            shown = ", ".join(f"{name}={value}" for name, value in wanted.items() if value)
            raise WorkflowError(f"SLURM has no place for a job of rule {job.rule.name}: {reason}; it asks for {shown}")


refuse_misspelt_resources()


onstart:
    if workflow.is_main_process and workflow.executor_plugin.name == "slurm":
        refuse_impossible_jobs(workflow.dag.needrun_jobs())
