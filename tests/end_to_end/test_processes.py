"""Two processes train what one trains; when one is killed the other ends, and any number of processes goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 120, 40
RUN = ["experiments/pretrain.py", f"--config.steps={STEPS}", "--config.log_every=1",
       "--config.model.width=8", "--config.model.head_width=4", "--config.model.depth=1", "--config.data.batch=4",
       "--config.data.length=16", "--config.data.tokenizer=bytes", "--config.data.validation_fraction=0.3",
       "--config.data.validation_tokens=100", "--config.evaluate_every=0"]  # fmt: skip


def start(workdir, corpus, *words, launcher=()):
  return subprocess.Popen(
    [sys.executable, *launcher, *RUN, f"--workdir={workdir}", f"--config.data.corpus={corpus}", *words],
    cwd=ROOT,
    env=os.environ | {"GEN_CACHE": str(workdir.parent / "cache"), "XLA_FLAGS": ""},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def rows(workdir):
  path = workdir / "journal.jsonl"
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def losses(workdir):
  return {row["step"]: row["loss"] for row in rows(workdir) if row["kind"] == "train"}


def child_number(launcher, number):
  """Returns the process that the launcher started under this number."""
  for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split():
    if f"JAX_PROCESS_ID={number}\0" in Path(f"/proc/{pid}/environ").read_text():
      return int(pid)
  raise AssertionError(f"no child number {number}")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for children under /proc")
def test_a_process_is_killed_and_another_number_of_processes_goes_on(tmp_path):
  corpus = tmp_path / "text.txt"
  corpus.write_text("".join(f"line {n * n} of some text, {n % 7} and {n % 5}.\n\n" for n in range(400)))
  alone, together = tmp_path / "alone", tmp_path / "together"
  launcher = ("scripts/launch_local.py", "--processes=2", "--devices_per_process=2")
  saves = f"--config.checkpoint_every={EVERY}"
  run = start(
    together, corpus, saves, "--config.mesh=data=2,tensor=2", "--config.layout=zero3", launcher=launcher
  )
  while run.poll() is None and not list((together / "checkpoints").glob("0*[0-9]")):
    time.sleep(0.02)
  assert run.poll() is None, run.communicate()
  os.kill(child_number(run, 1), signal.SIGKILL)
  begun = time.monotonic()
  printed, said = run.communicate(timeout=60)
  assert time.monotonic() - begun < 10
  assert run.returncode == 128 + signal.SIGKILL
  assert printed == ""
  last = said.splitlines()[-1]
  assert last.startswith("error: process 1 of 2") and last.endswith("continue from the last checkpoint")
  assert "Traceback" not in said
  before = losses(together)
  assert EVERY <= len(before) < STEPS

  other = start(alone, corpus)  # first, and then its compiled step is at hand
  assert other.communicate() and other.returncode == 0
  going_on = start(together, corpus, saves, "--json=-")
  result = json.loads(going_on.communicate()[0])
  resumed = [row["step"] for row in rows(together) if row["kind"] == "resume"]
  assert len(resumed) == 1 and resumed[0] % EVERY == 0 and resumed[0] >= EVERY
  expected, found = losses(alone), losses(together)
  assert list(found) == list(range(1, STEPS + 1))
  assert [found[step] for step in range(1, EVERY + 1)] == pytest.approx(
    [expected[step] for step in range(1, EVERY + 1)], abs=1e-5
  )
  assert result["loss"] == pytest.approx(rows(alone)[-1]["loss"], abs=1e-4)
  assert sum(row["kind"] == "start" for row in rows(together)) == 1  # of process 0 alone
