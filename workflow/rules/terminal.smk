"""The terminal of a run: one line a job, how far the long ones are, what they warn of, and last of all what a failed one
said, or where the datasets are.

Snakemake's own account of the run is in .snakemake/log; `--verbose` and `--printshellcmds` show it here too.
"""

import atexit
import logging
import re
import threading
import time

from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

TOLD_SHORTER = {LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS}
WARNING = re.compile(r"^WARNING medsynth[\w.]*: (.+)$", re.MULTILINE)
BAR = re.compile(r"(\d+)%\|.*?<([\d:]+)")  # of tqdm: the share that is done, the time that is left
QUIET = {Quietness.ALL, Quietness.RULES, Quietness.PROGRESS}
MOST_WARNINGS = 5  # of one job
PERCENT, SECONDS = 10, 10  # between two lines of one job, at least


class Terminal(logging.Handler):
    """Follows the events that Snakemake logs.

    Attributes:
        started: the jobs in their order, each with its name.
        running, failed: job → its name and the log of its step.
    """

    def __init__(self, jobs: int, quiet: bool) -> None:
        super().__init__()
        self.jobs, self.quiet = jobs, quiet
        self.started: dict[int, str] = {}
        self.running: dict[int, Path] = {}
        self.failed: dict[int, Path | None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO and record.shellcmd:
            message = record.rule_msg or record.rule_name
            self.started[record.jobid] = message.partition(":")[0]
            self.running[record.jobid] = Path(record.log[0])
            self.failed.pop(record.jobid, None)
            self.say(f"[{[*self.started].index(record.jobid) + 1} of {self.jobs}] {message}")
        elif event == LogEvent.JOB_FINISHED:
            if log := self.running.pop(record.job_id, None):
                self.warn(log)
        elif event == LogEvent.JOB_ERROR:
            self.running.pop(record.jobid, None)
            self.started.setdefault(record.jobid, record.rule_name)
            self.failed[record.jobid] = Path(record.log[0]) if record.log else None

    def say(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def warn(self, log: Path) -> None:
        """Say what a job that has ended warned of."""
        found = list(dict.fromkeys(WARNING.findall(content(log))))
        for text in found[:MOST_WARNINGS]:
            self.say(f"    warning: {text}")
        if len(found) > MOST_WARNINGS:
            self.say(f"    {len(found) - MOST_WARNINGS} more warnings in {log}")

    def watch(self) -> None:
        """Say now and then how far each job is, by the bar in its log."""
        told: dict[int, tuple[int, float]] = {}
        while True:
            time.sleep(1)
            for job, log in [*self.running.items()]:
                percent, at = told.setdefault(job, (0, time.monotonic()))
                found = BAR.findall(tail(log))
                done, left = int(found[-1][0]) if found else 0, found[-1][1] if found else ""
                if percent + PERCENT <= done < 100 and time.monotonic() >= at + SECONDS:
                    told[job] = done, time.monotonic()
                    self.say(f"    {self.started[job]}: {done} %, {left} left")

    def last_words(self) -> str:
        """Of each failed job its name, its log, and the line, or lines, that its step ended with."""
        lines = []
        for job, log in self.failed.items():
            said = [line.strip() for line in tail(log).splitlines() if line.strip()] if log else []
            own = [line for line in said if line.startswith("medsynth ")]  # torchrun says more after it
            lines.append(f"{self.started[job]} failed, its log is {log}")
            lines += list(dict.fromkeys(own)) or (said or ["It said nothing, see above."])[-1:]
        return "\n".join(lines)


def content(path: Path, last: int | None = None) -> str:
    """A log, or its last bytes; empty where there is none yet. A bar is drawn over itself: each state is a line here."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.stat(path).st_size - last) if last else 0)
            return file.read().decode(errors="replace").replace("\r", "\n")
    except OSError:
        return ""


def tail(path: Path) -> str:
    return content(path, 4096)


def is_told_longer(record: logging.LogRecord) -> bool:
    return getattr(record, "event", None) not in TOLD_SHORTER and record.msg != "Select jobs to execute..."


TERMINAL = []


def show_one_line_a_job() -> None:
    settings = workflow.output_settings
    jobs = sum(not job.rule.norun for job in workflow.dag.needrun_jobs())
    terminal = Terminal(jobs, quiet=not QUIET.isdisjoint(settings.quiet or ()))
    TERMINAL.append(terminal)
    if not (settings.verbose or settings.printshellcmds):
        for handler in logger.handlers:
            if handler.name == "DefaultStreamHandler":
                handler.addFilter(is_told_longer)
    logger.addHandler(terminal)
    threading.Thread(target=terminal.watch, daemon=True).start()


def say_last_where_datasets_are() -> None:
    for run in RUNS if TERMINAL else ():
        if exists(f"{RESULTS}/release/{run}/SHA256SUMS"):
            TERMINAL[-1].say(f"Dataset: {RESULTS}/release/{run}, begin with its README.md")


def say_last_what_failed() -> None:
    """After all that Snakemake says at its end."""
    if words := TERMINAL[-1].last_words():
        atexit.register(print, words, file=sys.stderr)
