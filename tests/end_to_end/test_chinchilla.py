"""The whole road in real processes: stopped, killed, gone on with, and compared with a sweep that nobody disturbed."""

import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from gen.scaling.workers import clusters, jobs
from gen.training.run_folders import run_folder
from gen.training.run_log import journal
from tests import programs
from tests.tiny_run import without_clocks

pytestmark = pytest.mark.optimized  # a kill changes no bit
CLOCK = ("created", "seconds", "utilization", "name", "config", "machine")
CONFIG = """
from gen.config import Criteria, Data, Model, Optimizer, Sweep

def get_config():
  return Sweep(
    name="tiny",
    model=Model(depth=1, head_width=8),
    data=Data(corpus={corpus!r}, length=32, batch=2, validation_fraction=0.2, validation_tokens=2048),
    optimizer=Optimizer(peak_learning_rate=0.01),
    budgets=(1.5e8, 3e8, 6e8),
    widths=((8, 16, 24), (8, 16, 24), (8, 16, 24)),
    held_out=1.2e9,
    held_out_widths=(24,),
    bootstraps=20,
    steps_per_dispatch=8,
    checkpoint_every=16,
    criteria=Criteria(min_steps=1),
  )
"""


class Place:
  """A corpus, a config and a cache that all sweeps of this file share."""

  def __init__(self, folder):
    self.folder, self.numbers = folder, itertools.count()
    words = [
      "the",
      "model",
      "reads",
      "a",
      "token",
      "and",
      "predicts",
      "what",
      "comes",
      "next",
      "of",
      "its",
      "text",
    ]
    choose = random.Random(0)
    (folder / "text").mkdir()
    for number in range(40):
      lines = (" ".join(choose.choices(words, k=9)) for _ in range(150))
      (folder / "text" / f"{number}.txt").write_text("\n".join(lines))
    (folder / "tiny.py").write_text(CONFIG.format(corpus=str(folder / "text" / "*.txt")))

  def start(self, workdir, *flags):
    """Starts the sweep; returns its process and the file that it prints to."""
    command = ["experiments/chinchilla.py", f"--config={self.folder / 'tiny.py'}"]
    printed = self.folder / f"printed{next(self.numbers)}"
    with printed.open("w") as file:
      process = programs.start(
        [*command, f"--workdir={self.folder / workdir}", *flags],
        stdout=file, stderr=file, env=os.environ | {"GEN_CACHE": str(self.folder / "cache")},
      )  # fmt: skip
    return process, printed

  def run(self, workdir, *flags):
    process, printed = self.start(workdir, *flags)
    return process.wait(300), printed.read_text()

  def results(self, workdir):
    return json.loads((self.folder / workdir / "results.json").read_text())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  return Place(tmp_path_factory.mktemp("chinchilla"))


@pytest.fixture(scope="module")
def undisturbed(place):
  code, said = place.run("undisturbed")
  assert code == 0, said
  return said


def comparable(results):
  points = [without_clocks(point) for point in results["points"]]
  return {name: value for name, value in results.items() if name not in CLOCK} | {"points": points}


def until(condition, process, printed, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, printed.read_text()
    assert time.monotonic() < end
    time.sleep(0.02)


def half_done(folder):
  """Names of runs that have a checkpoint and no result."""
  names = {path.parents[1].name for path in folder.glob("*/checkpoints/*") if path.name.isdigit()}
  rows = {name: journal.read_journal(folder / name / "journal.jsonl") for name in names}
  return {name for name in names if all(row["kind"] != "result" for row in rows[name])}


def workers_of(folder):
  """Process ids that have this sweep's logs open."""
  found = set()
  for descriptor in Path("/proc").glob("[0-9]*/fd/2"):
    with contextlib.suppress(OSError):
      if descriptor.readlink().is_relative_to(folder / "logs"):
        found.add(int(descriptor.parts[2]))
  return found


def test_one_command_trains_fits_judges_and_writes_everything(place, undisturbed):
  for words in (
    "sha256",
    "10 of 10 runs done",
    "GFLOP/s",
    "credible",
    "wall time",
    "report.html",
    "Approach",
  ):
    assert words in undisturbed
  folder = place.folder / "undisturbed"
  results = place.results("undisturbed")
  assert len(results["points"]) == 10 and set(results["laws"]) == {"envelope", "isoflop", "parametric"}
  assert [point["held_out"] for point in results["points"]] == [False] * 9 + [True]
  budgets = [point["budget"] for point in results["points"]]
  assert budgets == sorted(budgets)
  for point in results["points"]:
    assert point["flops"] == pytest.approx(point["budget"], rel=0.02)
  assert results["verdict"]["credible"] in (True, False) and results["verdict"]["reasons"]
  assert 0 < results["utilization"]["share"] < 1
  assert results["corpus"]["documents"] == 40 and results["versions"]["jax"]
  assert "<html" in (folder / "report.html").read_text() and list((folder / "plots").glob("*.png"))
  rows = journal.read_journal(folder / "journal.jsonl")
  assert {row["kind"] for row in rows} == {"train", "evaluation", "result"}
  assert sum(row["kind"] == "result" for row in rows) == 10


def test_a_sweep_that_was_killed_and_stopped_ends_with_the_same_numbers(place, undisturbed):
  folder = place.folder / "disturbed"
  process, printed = place.start("disturbed")
  until(lambda: len(half_done(folder)) == 2, process, printed)
  orphans = workers_of(folder)
  os.kill(process.pid, signal.SIGKILL)
  process.wait()
  killed = half_done(folder)
  deadline = time.monotonic() + 60
  while workers_of(folder):
    assert time.monotonic() < deadline, f"workers {orphans} outlive their sweep"
    time.sleep(0.05)

  process, printed = place.start("disturbed")
  until(lambda: half_done(folder) - killed, process, printed)
  code, said = place.run("disturbed")
  assert code == 2 and f"process {process.pid}" in said, "a second sweep is refused, naming the first"
  process.send_signal(signal.SIGINT)
  assert process.wait(300) == 130 and "to resume:" in printed.read_text() and not workers_of(folder)

  finished = {
    path.parent: path.read_bytes()
    for path in folder.glob("*/journal.jsonl")
    if b'"result"' in path.read_bytes()
  }
  code, said = place.run("disturbed")
  assert code == 0, said
  assert finished and all((run / "journal.jsonl").read_bytes() == rows for run, rows in finished.items())
  for name in killed:
    kinds = [row["kind"] for row in journal.read_journal(folder / name / "journal.jsonl")]
    assert "resume" in kinds, "it went on from its checkpoint"
  assert comparable(place.results("disturbed")) == comparable(place.results("undisturbed"))
  rows = [
    [without_clocks(row) for row in journal.read_journal(place.folder / w / "journal.jsonl")]
    for w in ("disturbed", "undisturbed")
  ]
  assert rows[0] == rows[1]


def test_a_finished_sweep_is_only_fitted_again_and_another_one_is_refused(place, undisturbed):
  before = place.results("undisturbed")
  code, said = place.run("undisturbed")
  assert code == 0 and "all 10 runs are done" in said
  assert comparable(place.results("undisturbed")) == comparable(before)
  code, said = place.run("undisturbed", "--config.optimizer.beta2=0.9")
  assert code == 2 and "optimizer.beta2 was 0.98, now 0.9" in said and "Traceback" not in said


def test_what_cannot_be_is_one_sentence_and_exit_code_2(place):
  (place.folder / "file").write_text("")
  for workdir, flag, words in [
    ("file/sweep", "--config.seed=1", f"{place.folder / 'file'}, which is a file"),
    ("nothing", "--config.budgets=(1e9,)", "config.widths"),
    ("nothing", "--config.held_out=-1.0", "budget"),
    ("nothing", "--config.budgetz=3", "budgets"),
    ("nothing", "--config.data.corpus=/no/such/*.txt", "/no/such"),
  ]:
    code, said = place.run(workdir, flag)
    assert code == 2 and words in said and "Traceback" not in said, said
    assert len(said.strip().splitlines()) == 1, said


# The worker of a sweep, but for the job around it, which is killed once, when there is something to go on from.
KILLS_ITS_JOB = """
import os, signal, time
from gen.scaling.workers import worker
from gen.training.checkpointing import checkpoint_folder

def train(run, folder, hooks):
  said, mark = hooks.progress, folder / "killed"

  def progress(row):
    said(row)
    if row["kind"] == "train" and row["step"] > 16 and not mark.exists():
      mark.touch()
      while not checkpoint_folder.complete_steps(folder / "checkpoints"):
        time.sleep(0.02)
      os.kill(os.getppid(), signal.SIGKILL)
      time.sleep(60)  # The end of its input ends it before.

  hooks.progress = progress
  return worker.train_run(run, folder, hooks)

worker.run_worker(train)
"""


def test_a_job_that_is_killed_ends_with_the_local_workers_rows_bit_for_bit(place, undisturbed, monkeypatch):
  monkeypatch.setenv("GEN_CACHE", str(place.folder / "cache"))
  name, here, there = "C6e8-w16-s0", place.folder / "undisturbed", place.folder / "jobs"
  run = run_folder.saved_run(here / name)
  command = (sys.executable, "-c", KILLS_ITS_JOB)
  submitted = jobs.ClusterJobs(clusters.LocalCluster(1), 1, there / "logs", command)
  events = [event for event in submitted.train([run], there) if event.kind != "row"]
  assert [event.kind for event in events] == ["started", "retried", "started", "finished"]
  rows = [journal.read_journal(folder / name / "journal.jsonl") for folder in (here, there)]
  assert [row["kind"] for row in rows[1]].count("resume") == 1 and (there / name / "killed").exists()
  rows = [[without_clocks(row) for row in some if row["kind"] not in ("start", "resume")] for some in rows]
  assert len(rows[0]) > 10 and rows[0] == rows[1]
