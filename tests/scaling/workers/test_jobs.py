"""Runs as jobs of a cluster, which is this machine here; training is a toy, processes and files are real."""

import contextlib
import dataclasses
import json
from pathlib import Path

import pytest

from gen.config import to_dict
from gen.errors import UserError
from gen.scaling.workers import clusters, executors, jobs
from gen.scaling.workers import pool as pools
from gen.training.run_log import journal
from tests.scaling.workers.test_pool import COMMAND, directives, kinds, runs_of, sittings
from tests.tiny_run import without_clocks

WAITS = {"how": "waits for a stop", "at": 3}


def submitted(folder, limit=2, **options):
  return jobs.ClusterJobs(clusters.LocalCluster(limit), limit, folder / "logs", COMMAND, **options)


def starts(folder, name):
  """Returns the step from which each worker of a run began."""
  return [int(line.split(" from ")[1].split()[0]) for line in sittings(folder, name)]


def test_jobs_write_the_local_pools_rows_though_one_is_killed_and_one_pre_empted(tmp_path):
  runs = runs_of(2)
  here, there = tmp_path / "here", tmp_path / "there"
  here.mkdir(), there.mkdir()
  list(pools.WorkerPool(2, here / "logs", COMMAND).train(runs, here))
  directives(
    there, C1e9_w8_s0={"how": "job killed", "at": 13}, C1e9_w16_s0={"how": "job pre-empted", "at": 12}
  )
  events = list(submitted(there).train(runs, there))
  for run in runs:
    rows = [journal.read_journal(folder / run.name / "journal.jsonl") for folder in (here, there)]
    assert len(rows[0]) == 41 and [*map(without_clocks, rows[0])] == [*map(without_clocks, rows[1])]
  assert kinds(events, "retried") == [("retried", "C1e9-w8-s0")]
  assert sorted(kinds(events, "finished")) == sorted(("finished", run.name) for run in runs)
  assert starts(there, "C1e9-w8-s0") == [0, 10], "no more than the steps since the last save are lost"
  assert starts(there, "C1e9-w16-s0") == [0, 12], (
    "a job that is told in time loses nothing, and needs no other job"
  )


def test_jobs_outlive_their_sweep_and_the_next_follows_them_until_it_stops_them(tmp_path):
  (run,) = runs_of(1)
  directives(tmp_path, **{"*": WAITS})
  forgotten = submitted(tmp_path).train([run], tmp_path)
  while next(forgotten).kind != "row":
    pass
  with pytest.raises(
    UserError, match=r"jobs of --executor=submitit-local have not ended \(\d+\); continue with that"
  ):
    executors.LOCAL.trainer(0, 1, tmp_path / "logs", COMMAND)
  following, seen = submitted(tmp_path), []
  with contextlib.closing(following.train([run], tmp_path)) as events:
    for event in events:
      seen.append(event)
      if event.kind == "started":
        following.stop()
  assert "1 job is there already" in seen[0].text and kinds(seen, "stopped") == [("stopped", run.name)]
  assert json.loads((tmp_path / run.name / "state.json").read_text())["step"] == 3, "it has saved what it did"
  forgotten.close()


def test_a_job_leaves_a_word_on_a_mistake_that_its_worker_meets(tmp_path):
  (run,) = runs_of(1)
  directives(tmp_path, C1e9_w8_s0={"how": "mistake", "at": 2})
  outcome = tmp_path / "0.json"
  job = clusters.ClusterTask(to_dict(run), str(tmp_path), str(outcome), str(tmp_path / "logs"), COMMAND)
  assert job() == "mistake"
  assert json.loads(outcome.read_text())["text"] == "C1e9-w8-s0: the corpus is gone; bring it back"


class Scripted:
  """A cluster of no processes, whose jobs write nothing but the outcomes that a test wants, and end."""

  name, patience, pins, limit = "scripted", 0.0, False, 0

  def __init__(self, *outcomes):
    self.outcomes, self.cancelled, self.count = list(outcomes), [], 0

  def submit(self, tasks, home):
    self.count += len(tasks)
    for task, said in zip(tasks, self.outcomes, strict=False):
      Path(task.outcome).write_text(json.dumps(said))
    return [clusters.ClusterJob(str(self.count - index), str(home)) for index, _ in enumerate(tasks)]

  def states(self, jobs):
    return {}

  def cancel(self, jobs, at_once=False):
    self.cancelled += jobs


def test_a_mistake_ends_the_sweep_and_a_failed_run_does_not(tmp_path):
  cluster = Scripted(
    {"kind": "failed", "text": "it diverged"}, {"kind": "mistake", "text": "the disk is full"}
  )
  seen = []
  with pytest.raises(UserError, match="the disk is full"):
    for event in jobs.ClusterJobs(cluster, 3, tmp_path / "logs").train(runs_of(3), tmp_path):
      seen.append(event)
  assert [event.text for event in seen if event.kind == "failed"] == ["it diverged"]
  assert len(cluster.cancelled) == 1, "the third job may save"


def test_a_job_that_dies_too_often_is_given_up_with_its_log(tmp_path):
  cluster = Scripted()
  events = list(jobs.ClusterJobs(cluster, 1, tmp_path / "logs", attempts=3).train(runs_of(1), tmp_path))
  assert [event.kind for event in events if event.kind != "news"] == ["retried", "retried", "failed"]
  assert cluster.count == 3 and "ended before its run" in events[-1].text and "_0_log.err" in events[-1].text


@pytest.mark.parametrize("trunk", ["", "trunk"])
def test_a_new_checkpoint_gives_a_dying_job_new_attempts(tmp_path, trunk):
  run = dataclasses.replace(runs_of(1)[0], trunk=trunk)
  events = []
  for event in jobs.ClusterJobs(Scripted(), 1, tmp_path / "logs", attempts=2).train([run], tmp_path):
    events.append(event.kind)
    step = events.count("news")
    if event.kind == "news" and step <= 4:
      (tmp_path / (trunk or run.name) / "checkpoints" / f"{step:09d}").mkdir(parents=True)
  assert events.count("retried") == 5 and events[-1] == "failed"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
  """A folder first on the path, in which programs that are named like SLURM's say what a test wants."""

  def program(name, script):
    (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / name).chmod(0o755)

  (tmp_path / "bin").mkdir()
  monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
  for name in clusters.PROGRAMS:
    program(name, "exit 1")
  return program


def test_slurm_gets_an_array_with_the_users_options(tmp_path, slurm):
  slurm("sbatch", f'cp "$1" {tmp_path / "script"}; echo Submitted batch job 7')
  slurm("squeue", "printf '7_0|RUNNING\\n7_2|PENDING\\n70_1|RUNNING\\n'")
  slurm("scancel", f'echo "$@" >> {tmp_path / "cancelled"}')
  cluster = clusters.SlurmCluster(
    {"partition": "long", "time": "02:00:00", "reservation": "ours"}, at_a_time=2
  )
  tasks = [clusters.ClusterTask({}, "", "", "", ()) for _ in range(3)]
  found = cluster.submit(tasks, tmp_path / "home")
  assert [job.name for job in found] == ["7_0", "7_1", "7_2"]
  lines = (tmp_path / "script").read_text().splitlines()
  options = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
  assert {
    "array=0-2%2",
    "partition=long",
    "time=120",
    "reservation=ours",
    "requeue",
    "signal=USR2@90",
  } <= options
  assert cluster.states(found) == {found[0]: "running", found[2]: "waiting"}
  cluster.cancel(found[:2])
  cluster.cancel(found[2:], at_once=True)
  assert (
    tmp_path / "cancelled"
  ).read_text() == "--quiet 7_0 7_1\n--quiet --signal=KILL --full 7_2\n--quiet 7_2\n"
  slurm("squeue", "exit 1")
  assert cluster.states(found) is None, "a controller that does not answer says nothing about jobs"


def test_what_slurm_says_to_a_submission_is_passed_on(tmp_path, slurm):
  slurm("sbatch", "echo 'sbatch: error: invalid partition specified: lnog' >&2; exit 1")
  with pytest.raises(UserError, match=r"rejects the jobs: .*invalid partition specified: lnog"):
    clusters.SlurmCluster().submit([clusters.ClusterTask({}, "", "", "", ())], tmp_path / "home")
