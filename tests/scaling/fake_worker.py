"""A worker whose training is a toy: the protocol and the folder are real, the model is a sum.

`directives.json` in the sweep's folder tells runs to misbehave, by name.
"""

import json
import math
import os
import signal
import time

from gen.config import config_hash
from gen.errors import UserError
from gen.scaling.workers import worker
from gen.training.run_folders import run_folder
from gen.training.run_log.journal import Journal

STEPS = 40
SAVE_EVERY = 5


def train(run, folder, hooks):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "config.json").write_bytes(run_folder.config_text(run))
  directive = _directive(run, folder)
  saved = folder / "state.json"
  state = json.loads(saved.read_text()) if saved.exists() else {"step": 0, "sum": 0.0}
  with (folder / "sittings").open("a") as file:
    file.write(f"{os.getpid()} from {state['step']} on {sorted(os.sched_getaffinity(0))}\n")
  seen = os.environ.get("CUDA_VISIBLE_DEVICES", "all"), os.environ.get("JAX_PLATFORMS", "any")
  (folder / "device").write_text(" ".join(seen))
  with Journal(folder / "journal.jsonl") as journal:
    journal.rewind(state["step"])

    def write(kind, **values):
      row = {"kind": kind, "time": time.time(), "run": config_hash(run), "name": run.name} | values
      journal.append(row)
      hooks.progress(row)
      return row

    steps = directive.get("steps", STEPS)
    while state["step"] < steps:
      time.sleep(directive.get("sleep", 0.002))
      state["step"] += 1
      state["sum"] += run.model.width / (state["step"] + run.seed + run.flops / 1e9)
      part = state["step"] / steps
      skipped = 99 if directive.get("diverge") else 0
      write(
        "train", step=state["step"], flops=run.flops * part, loss=state["sum"], gflops=0.5, skipped=skipped
      )
      if skipped:
        raise UserError("the gradient was not finite")
      _misbehave(directive, state["step"], folder, hooks)
      time.sleep(directive.get("sleep_before_asking", 0))
      if state["step"] % SAVE_EVERY == 0:
        _save(saved, state)
      if hooks.stop() and state["step"] < steps:
        _save(saved, state)
        return None
    corpora = {"corpora": _losses(run)} if run.data.mixture else {}
    return write(
      "result", width=run.model.width, loss=state["sum"], flops=run.flops, seconds=0.1, gflops=0.5, **corpora
    )


def _losses(run):
  """Returns the same loss for each corpus of a mixture, by a law of the first two weights."""
  first, second = (corpus.weight for corpus in run.data.mixture[:2])
  loss = 1 + math.exp(-2 * first) + math.exp(-3 * second)
  return {corpus.name: {"loss": loss, "bits_per_byte": loss / 2} for corpus in run.data.mixture}


def _save(path, state):
  path.with_suffix(".partial").write_text(json.dumps(state))
  path.with_suffix(".partial").rename(path)


def _directive(run, folder):
  path = folder.parent / "directives.json"
  directives = json.loads(path.read_text()) if path.exists() else {}
  return directives.get("*", {}) | directives.get(run.name, {})


def _misbehave(directive, step, folder, hooks):
  if step != directive.get("at"):
    return
  times = folder / "misbehaved"
  count = len(times.read_text()) if times.exists() else 0
  if count >= directive.get("times", 1):
    return
  times.write_text("x" * (count + 1))
  if directive["how"] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
  if directive["how"] == "job pre-empted":
    os.kill(os.getppid(), signal.SIGUSR2)
  while directive["how"] in ("job pre-empted", "waits for a stop") and not hooks.stop():
    time.sleep(0.02)
  if directive["how"] == "job killed":
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)  # The end of its input ends it before.
  if directive["how"] == "crashes":
    raise RuntimeError("the tensor fell over")
  if directive["how"] == "mistake":
    raise UserError("the corpus is gone; bring it back")
  if directive["how"] == "hangs":
    time.sleep(60)
  if directive["how"] == "asked to leave":
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
  worker.run_worker(train)
