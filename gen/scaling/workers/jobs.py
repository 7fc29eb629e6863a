"""Trains the runs of a sweep as cluster jobs, one each, with the same stream of events as a pool of workers.

    submit -> poll: rows of the runs' journals, outcomes, job states -> events    only the sweep writes the ledger

`submitted.jsonl` beside the logs maps jobs to runs. Jobs outlive the sweep: the same command finds them again, follows
those that have not ended, and submits the remaining runs. A job that ends without an outcome was killed, pre-empted or
cancelled. Its run is submitted again, up to a number of attempts without a new checkpoint.
"""

import collections
import dataclasses
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from gen.config import Run, to_dict
from gen.errors import UserError
from gen.io import json_reading, typed_json
from gen.scaling.workers import clusters, pool
from gen.scaling.workers.cluster_task import ClusterTask
from gen.scaling.workers.ledger import CHECKPOINTS, JOURNAL
from gen.scaling.workers.messages import RunOutcome
from gen.scaling.workers.pool import WorkerEvent
from gen.training.checkpointing import checkpoint_folder
from gen.training.run_log import journal
from gen.training.run_log.rows import RowValues

FOLDER = "jobs"  # below the sweep's logs
RECORD = "submitted.jsonl"
ABSENCES = 2  # looks at which a job is missing before it counts as dead: its last files may be on their way


@dataclasses.dataclass(frozen=True)
class SubmittedJob:
  """A line of the record of submitted jobs.

  Attributes:
    cluster: name of the cluster.
    run: name of the run.
    outcome: file for the outcome of the run.
    name: of the job on the cluster.
    home: folder of the job.
  """

  cluster: str
  run: str
  outcome: str
  name: str
  home: str

  @property
  def job(self) -> clusters.ClusterJob:
    """The job on the cluster."""
    return clusters.ClusterJob(self.name, self.home)


@dataclasses.dataclass
class FollowedJob:
  """A job that has not ended, as far as is known.

  Attributes:
    job: the job on the cluster.
    run: the run that it trains.
    number: number for display, from 0.
    outcome: file for the outcome of its run.
    log: file of its standard error.
    seen: number of rows of the run's journal already read.
    step: step of the last checkpoint at submission, plus that of its trunk.
    began: monotonic time at which it was first seen running.
    absences: consecutive polls in which the cluster did not list it.
  """

  job: clusters.ClusterJob
  run: Run
  number: int
  outcome: Path
  log: Path
  seen: int
  step: int
  began: float | None = None
  absences: int = 0


class ClusterJobs:
  """Trains runs as jobs of a cluster; a `gen.scaling.workers.pool.RunTrainer`."""

  def __init__(
    self,
    cluster: clusters.JobCluster,
    workers: int,
    logs: Path,
    command: Sequence[str] = pool.COMMAND,
    attempts: int = 3,
  ) -> None:
    """Submits nothing yet.

    Args:
      cluster: cluster that runs the jobs.
      workers: maximum number of jobs at a time.
      logs: folder of the jobs' output and of the record.
      command: command that starts a worker process.
      attempts: maximum number of consecutive jobs of a run without an outcome or a new checkpoint.
    """
    self.workers, self.stopping = workers, False
    self._cluster, self._logs, self._home = cluster, logs.absolute(), logs.absolute() / FOLDER
    self._command, self._max_attempts = tuple(command), attempts
    self._waiting: collections.deque[Run] = collections.deque()
    self._followed: dict[int, FollowedJob] = {}
    self._attempts: collections.Counter[str] = collections.Counter()
    self._past_seconds, self._mistake = 0.0, ""
    self._told, self._killing = False, False

  @property
  def worker_seconds(self) -> float:
    """Wall time in seconds of jobs that were seen running."""
    now = time.monotonic()
    return self._past_seconds + sum(
      now - followed.began for followed in self._followed.values() if followed.began
    )

  def stop(self) -> None:
    """Asks all jobs to save and exit; may be called from a signal handler."""
    self.stopping = True

  def kill(self) -> None:
    """Ends all jobs at once."""
    self.stopping = self._killing = True

  def train(self, runs: Sequence[Run], folder: Path) -> Generator[WorkerEvent]:
    """Yields events until all runs are trained, have failed, or were stopped.

    Args:
      runs: in the order to submit them; their names are paths below the folder.
      folder: of the sweep.

    Raises:
      UserError: if the cluster refuses jobs, or one of them found a mistake of the user.
    """
    folder = folder.absolute()
    self._waiting.extend(runs)
    try:
      self._home.mkdir(parents=True, exist_ok=True)
      with journal.Journal(self._home / RECORD) as record:
        yield from self._find(folder, record)
        while self._followed or (self._waiting and not self.stopping):
          yield from self._submit(folder, record)
          if self._killing:
            break
          self._rest()
          self._pass_on_stop()
          yield from self._look(folder)
    except OSError as error:
      raise UserError(f"cannot record jobs in {self._home}: {error.strerror or error}") from error
    finally:
      # Also at an error of this process: jobs that nobody follows would train on and fill the disk.
      self._cluster.cancel([followed.job for followed in self._followed.values()], at_once=self._killing)
    if self._mistake:
      raise UserError(self._mistake)

  def _rest(self) -> None:
    """Waits until the next poll, or until a stop is requested."""
    until = time.monotonic() + self._cluster.patience
    while time.monotonic() < until and not (self.stopping and not self._told) and not self._killing:
      time.sleep(min(pool.PATIENCE, self._cluster.patience))

  def _pass_on_stop(self) -> None:
    if self.stopping and not self._told:
      self._told = True
      self._waiting.clear()
      self._cluster.cancel([followed.job for followed in self._followed.values()])

  def _find(self, folder: Path, record: journal.Journal) -> Iterator[WorkerEvent]:
    """Follows jobs of an earlier session that have not ended."""
    by_name = {run.name: run for run in self._waiting}
    rows = [row for row in read_rows(record.path, self._cluster.name).values() if row.run in by_name]
    alive = self._cluster.states([row.job for row in rows]) if rows else {}
    # Not the same as "no jobs": to submit again would train a run twice in one folder.
    if alive is None:
      raise UserError(
        f"{record.path} names {len(rows)} jobs of {self._cluster.name}, which does not respond; try again when it does"
      )
    for row in rows:
      if row.job in alive:
        run = by_name[row.run]
        self._waiting.remove(run)
        self._follow(row.job, run, Path(row.outcome), folder)
    if self._followed:
      names = ", ".join(followed.job.name for followed in self._followed.values())
      count = len(self._followed)
      text = f"{count} {'job is' if count == 1 else 'jobs are'} there already: {names}"
      yield WorkerEvent("news", 0, next(iter(self._followed.values())).run, text=text)

  def _submit(self, folder: Path, record: journal.Journal) -> Iterator[WorkerEvent]:
    """Submits waiting runs, up to the sweep's limit."""
    # A cluster without a limit queues all of them by itself, in one array of jobs.
    room = self._cluster.limit - len(self._followed) if self._cluster.limit else len(self._waiting)
    batch = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
    if not batch or self.stopping:
      return
    home = _new_folder(self._home)
    free = (number for number in range(len(batch) + len(self._followed)) if number not in self._followed)
    cores = pool.pool_cores()
    tasks = [
      ClusterTask(
        config=to_dict(run),
        folder=str(folder),
        outcome=str(home / f"{index}.json"),
        logs=str(self._logs / run.name),
        command=self._command,
        core=cores[number % len(cores)] if self._cluster.pins else -1,
      )
      for (index, run), number in zip(enumerate(batch), list(free), strict=False)
    ]
    jobs = self._cluster.submit(tasks, home)
    # Followed before they are recorded: if the disk refuses the record, these jobs are still cancelled.
    for job, run, task in zip(jobs, batch, tasks, strict=True):
      self._follow(job, run, Path(task.outcome), folder)
    for job, run, task in zip(jobs, batch, tasks, strict=True):
      submitted = SubmittedJob(self._cluster.name, run.name, task.outcome, job.name, job.home)
      record.append(typed_json.encode_record(submitted))
    if not self._cluster.limit:
      first, last = jobs[0].name, jobs[-1].name
      text = (
        f"submitted 1 job: {first}" if first == last else f"submitted {len(jobs)} jobs: {first} to {last}"
      )
      yield WorkerEvent("news", 0, batch[0], text=text)

  def _follow(self, job: clusters.ClusterJob, run: Run, outcome: Path, folder: Path) -> None:
    number = next(n for n in range(len(self._followed) + 1) if n not in self._followed)
    self._followed[number] = FollowedJob(
      job=job,
      run=run,
      number=number,
      outcome=outcome,
      log=Path(job.home) / f"{job.name}_0_log.err",
      seen=len(journal.read_journal(folder / run.name / JOURNAL)),
      step=_last_step(folder, run),
    )

  def _look(self, folder: Path) -> Iterator[WorkerEvent]:
    """Yields events since the last poll."""
    states = self._cluster.states([followed.job for followed in self._followed.values()])
    for followed in list(self._followed.values()):
      outcome = _outcome(followed.outcome)  # Before the rows: a run that has ended writes no more.
      rows = journal.read_journal(folder / followed.run.name / JOURNAL)
      if followed.began is None and (
        len(rows) > followed.seen or outcome or (states or {}).get(followed.job) == "running"
      ):
        followed.began = time.monotonic()
        yield WorkerEvent("started", followed.number, followed.run)
      new, followed.seen = rows[min(followed.seen, len(rows)) :], len(rows)
      for row in new:
        yield WorkerEvent("row", followed.number, followed.run, row)
      if outcome is not None:
        yield from self._ended(followed, outcome, rows)
      # None is a cluster that does not respond, which says nothing of its jobs.
      elif states is not None:
        followed.absences = 0 if followed.job in states else followed.absences + 1
        if followed.absences >= ABSENCES:
          yield from self._dead(followed, folder)

  def _ended(
    self, followed: FollowedJob, outcome: RunOutcome, rows: list[RowValues]
  ) -> Iterator[WorkerEvent]:
    self._remove_worker(followed)
    if outcome.kind == "finished":
      result = next((row for row in reversed(rows) if row.get("kind") == "result"), None)
      if result is None:
        raise UserError(
          f"{followed.outcome} says that {followed.run.name} is finished, but its journal has no result"
        )
      yield WorkerEvent("finished", followed.number, followed.run, result)
    elif outcome.kind == "failed":
      yield WorkerEvent("failed", followed.number, followed.run, text=outcome.text)
    else:
      self._mistake = self._mistake or outcome.text
      self.stopping = True

  def _dead(self, followed: FollowedJob, folder: Path) -> Iterator[WorkerEvent]:
    """Submits the run of a job without an outcome again, or gives it up."""
    self._remove_worker(followed)
    # Progress resets the count: on a pre-emptible partition a long run is killed often without any fault.
    advanced = _last_step(folder, followed.run) > followed.step
    self._attempts[followed.run.name] = 0 if advanced else self._attempts[followed.run.name] + 1
    why = f"job {followed.job.name} ended before its run"
    if self.stopping:
      yield WorkerEvent("stopped", followed.number, followed.run)
    elif self._attempts[followed.run.name] < self._max_attempts:
      # In front: sweeps start their longest runs first, so a retried one is late already.
      self._waiting.appendleft(followed.run)
      yield WorkerEvent("retried", followed.number, followed.run, text=why)
    else:
      yield WorkerEvent(
        "failed",
        followed.number,
        followed.run,
        text=f"{why}: {pool.last_line(followed.log)} (see {followed.log})",
      )

  def _remove_worker(self, followed: FollowedJob) -> None:
    if followed.began is not None:
      self._past_seconds += time.monotonic() - followed.began
    del self._followed[followed.number]


def read_rows(record: Path, cluster: str) -> dict[str, SubmittedJob]:
  """Returns the last recorded job of each run on a cluster, by run, if it has no outcome."""
  last = {}
  for number, row in enumerate(journal.read_journal(record), 1):
    submitted = typed_json.decode_record(SubmittedJob, row, f"line {number} of {record}")
    last[submitted.run] = submitted
  return {
    run: job for run, job in last.items() if job.cluster == cluster and _outcome(Path(job.outcome)) is None
  }


def refuse_others(logs: Path, executor: str, others: Sequence[clusters.JobCluster]) -> None:
  """Prevents two executors from training one run at once.

  Raises:
    UserError: if a job of another executor has not ended, or may not have.
  """
  record = logs.absolute() / FOLDER / RECORD
  for cluster in others:
    jobs = [row.job for row in read_rows(record, cluster.name).values()]
    alive = cluster.states(jobs) if jobs else {}
    # An unreachable cluster counts as busy, since two writers would damage a run's journal.
    if alive or alive is None:
      names = ", ".join(job.name for job in (jobs if alive is None else alive))
      may = "may not have ended" if alive is None else "have not ended"
      raise UserError(
        f"jobs of --executor={cluster.name} {may} ({names}); continue with that executor, or end them before "
        f"--executor={executor}"
      )


def _outcome(path: Path) -> RunOutcome | None:
  if not path.exists():
    return None
  return typed_json.decode_record(RunOutcome, json_reading.read_json(path), str(path))


def _last_step(folder: Path, run: Run) -> int:
  """Returns the last checkpointed step of a run plus that of its trunk; a job may advance either."""
  names = [run.name, run.trunk] if run.trunk else [run.name]
  return sum(max(checkpoint_folder.complete_steps(folder / name / CHECKPOINTS), default=-1) for name in names)


def _new_folder(home: Path) -> Path:
  """Makes and returns the next folder of a batch."""
  number = 1 + max((int(path.name) for path in home.iterdir() if path.name.isdecimal()), default=0)
  (home / str(number)).mkdir()
  return home / str(number)
