"""Clusters that run jobs: SLURM, or this machine as a local cluster. Both use submitit, an optional extra.

A cluster accepts tasks and reports which of its jobs wait and which run; all other communication is through files.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gen.errors import UserError
from gen.scaling.workers.cluster_task import ClusterTask

PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
MINUTES = 60  # of a job, unless the user says otherwise: an hour, which queues take
MIN_MINUTES = (
  5  # SLURM tells a job of its end 90 to 150 seconds before it, and the job must have begun by then
)
STARTS = 10_000  # after a time limit, so many that only the end of the run ends them
OURS = (
  "array",
  "error",
  "job_name",
  "nodes",
  "ntasks",
  "ntasks_per_node",
  "open_mode",
  "output",
  "requeue",
  "signal",
)
_WAITING = (
  "PENDING",
  "CONFIGURING",
  "REQUEUED",
  "REQUEUE_HOLD",
  "REQUEUE_FED",
  "RESV_DEL_HOLD",
  "SPECIAL_EXIT",
)


class ClusterJob(NamedTuple):
  """A submitted job: its name on the cluster, and the folder that it was submitted with."""

  name: str
  home: str


class JobCluster(Protocol):
  """The interface of a cluster that runs jobs."""

  name: str
  patience: float  # seconds between two looks at the jobs
  pins: bool  # whether the sweep says on which core a job runs
  limit: (
    int  # jobs at a time that the sweep holds to; 0: it submits all of them, the cluster sees to the rest
  )

  def submit(self, tasks: Sequence[ClusterTask], home: Path) -> list[ClusterJob]:
    """Submits tasks at once; submitit's files go into a separate folder.

    Raises:
      UserError: if the cluster refuses, with its message.
    """
    ...

  def states(self, jobs: Sequence[ClusterJob]) -> dict[ClusterJob, str] | None:
    """Returns waiting or running for each job that has not ended; None if the state is unknown now."""
    ...

  def cancel(self, jobs: Sequence[ClusterJob], at_once: bool = False) -> None:
    """Ends jobs, which save first unless `at_once`; jobs that have ended are ignored."""


class LocalCluster:
  """This machine's cores through submitit's local executor, for trying a cluster's workflow."""

  name, patience, pins = "submitit-local", 0.2, True

  def __init__(self, limit: int = 1) -> None:
    """Creates the cluster with a number of jobs that run at a time."""
    self.limit = limit
    self._own: dict[ClusterJob, Any] = {}  # processes that this one must wait for

  def submit(self, tasks: Sequence[ClusterTask], home: Path) -> list[ClusterJob]:
    """Starts one process for each task."""
    executor = import_submitit(self.name).LocalExecutor(home, max_num_timeout=STARTS)
    # A year: a run on this machine has no time limit.
    executor.update_parameters(timeout_min=60 * 24 * 365)
    jobs_started = []
    with _deaf_children():
      for task in tasks:
        started = executor.submit(task)
        jobs_started.append(ClusterJob(started.job_id, str(home)))
        self._own[jobs_started[-1]] = started
    return jobs_started

  def states(self, jobs: Sequence[ClusterJob]) -> dict[ClusterJob, str]:
    """Returns the states of the processes."""
    return {job: "running" for job in jobs if self._lives(job)}

  def cancel(self, jobs: Sequence[ClusterJob], at_once: bool = False) -> None:
    """Sends SIGTERM; a job that receives it twice does not save."""
    for job in filter(self._lives, jobs):
      os.kill(int(job.name), signal.SIGTERM)

  def _lives(self, job: ClusterJob) -> bool:
    if job in self._own:
      return not self._own[job].done()
    try:
      os.kill(int(job.name), 0)
    except OSError:
      return False
    with contextlib.suppress(
      OSError
    ):  # The number may be another process's by now; where there is no /proc, it is not.
      return job.home in Path(f"/proc/{job.name}/cmdline").read_text()
    return True


class SlurmCluster:
  """SLURM: its own commands give states, submitit submits; a batch of tasks is an array of jobs."""

  name, patience, pins, limit = "slurm", 5.0, False, 0

  def __init__(self, options: Mapping[str, str] = {}, at_a_time: int = 0) -> None:
    """Creates the cluster with sbatch's options and the number of array jobs at a time; 0 leaves it to SLURM.

    Raises:
      UserError: for an option that the sweep sets itself.
    """
    self._options, self._at_a_time = sbatch_parameters(options), at_a_time

  def submit(self, tasks: Sequence[ClusterTask], home: Path) -> list[ClusterJob]:
    """Submits an array, or a single job for a single task."""
    executor = import_submitit(self.name).SlurmExecutor(home, max_num_timeout=STARTS)
    known = type(executor)._valid_parameters()
    own = {name: value for name, value in self._options.items() if name in known}
    extra = {name: value for name, value in self._options.items() if name not in known}
    cores = own.get("cpus_per_task")
    executor.update_parameters(
      job_name="gen",
      srun_args=[f"--cpus-per-task={cores}"]
      if cores
      else [],  # Since 22.05 srun need not take it from sbatch.
      array_parallelism=self._at_a_time or len(tasks),
      additional_parameters=extra | {"requeue": True},
      **own,
    )
    try:
      with executor.batch():
        started = [executor.submit(task) for task in tasks]
    except Exception as error:  # The library's own kinds, and the system's.
      lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
      raise UserError(f"SLURM rejects the jobs: {lines[-1]}; see the options --slurm=NAME=VALUE") from error
    return [ClusterJob(job.job_id, str(home)) for job in started]

  def states(self, jobs: Sequence[ClusterJob]) -> dict[ClusterJob, str] | None:
    """Reads states from squeue, which lists all jobs that have not ended, with or without accounting."""
    command = ["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i|%T"]
    try:
      output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
      return None  # The controller does not answer, which says nothing about the jobs.
    known = dict(line.strip().split("|") for line in output.splitlines() if "|" in line)
    return {job: "waiting" if known[job.name] in _WAITING else "running" for job in jobs if job.name in known}

  def cancel(self, jobs: Sequence[ClusterJob], at_once: bool = False) -> None:
    """Calls scancel: SIGTERM, then SIGKILL after SLURM's KillWait. A signal alone would leave waiting jobs."""
    for how in (["--signal=KILL", "--full"], []) if at_once else ([],):
      with contextlib.suppress(OSError):
        if jobs:
          subprocess.run(["scancel", "--quiet", *how, *(job.name for job in jobs)], capture_output=True)


def require_slurm() -> None:
  """Raises a UserError where SLURM's commands or submitit are missing."""
  missing = [program for program in PROGRAMS if shutil.which(program) is None]
  if missing:
    raise UserError(
      f"--executor=slurm needs SLURM's commands, but there is no {missing[0]} here; start it on a node that submits "
      "jobs, or choose --executor=local"
    )
  import_submitit(SlurmCluster.name)


def import_submitit(executor: str) -> Any:
  """Returns submitit.

  Raises:
    UserError: if it is not installed.
  """
  try:
    import submitit
  except ImportError:
    raise UserError(
      f"--executor={executor} needs submitit, which is not installed; start with `uv run --extra slurm ...`, or "
      "pip install submitit"
    ) from None
  return submitit


def sbatch_parameters(options: Mapping[str, str]) -> dict[str, str | int]:
  """Returns sbatch's options as submitit takes them: numbers as numbers, the time in minutes.

  Raises:
    UserError: for an option that the sweep sets itself, or a time that is none or too short.

  >>> sbatch_parameters({"partition": "gpu", "time": "1-02:00:00", "gpus-per-task": "1"})
  {'partition': 'gpu', 'time': 1560, 'gpus_per_task': 1}
  """
  parameters: dict[str, str | int] = {}
  for name, value in options.items():
    name = name.replace("-", "_")
    if name in OURS:
      raise UserError(f"--slurm={name}={value}: the sweep sets {name} itself; remove it")
    parameters[name] = sbatch_minutes(value) if name == "time" else int(value) if value.isdecimal() else value
  parameters.setdefault("time", MINUTES)
  if int(parameters["time"]) < MIN_MINUTES:
    raise UserError(
      f"--slurm=time={options['time']}: SLURM signals jobs up to 150 seconds before their end, and they must have "
      f"begun by then; give at least {MIN_MINUTES} minutes"
    )
  return parameters


def sbatch_minutes(time: str) -> int:
  """Returns a time of sbatch's (minutes, minutes:seconds, hours:minutes:seconds, days-hours...) in whole minutes.

  >>> sbatch_minutes("90"), sbatch_minutes("90:30"), sbatch_minutes("04:00:00"), sbatch_minutes("2-12")
  (90, 91, 240, 3600)
  """
  match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
  if match is None or not any(int(part or 0) for part in match.groups()):
    raise UserError(f"--slurm=time={time}: write minutes, HH:MM:SS or D-HH:MM:SS")
  days, *rest = match.groups()
  parts = [int(part) for part in rest if part is not None]
  if days is None and len(parts) < 3:
    parts.insert(0, 0)  # minutes, or minutes and seconds
  hours, some_minutes, seconds = (*parts, 0, 0, 0)[:3]
  return int(days or 0) * 1440 + hours * 60 + some_minutes + (seconds > 0)


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
  """Makes processes started within ignore Ctrl-C, which a terminal sends to all its processes."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)
