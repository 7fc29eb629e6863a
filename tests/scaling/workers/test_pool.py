import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from gen.config import Data, Model, Sweep
from gen.errors import UserError
from gen.scaling.sweeps import design
from gen.scaling.workers import pool as pools

COMMAND = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))


def runs_of(count=3, **fields):
  widths = tuple(8 * (i + 1) for i in range(count))
  study = Sweep(
    model=Model(head_width=8), data=Data(length=8, batch=2), budgets=(1e9,), widths=(widths,), **fields
  )
  return design.expand_sweep(study, 259)


def directives(folder, **by_name):
  (folder / "directives.json").write_text(
    json.dumps({name.replace("_", "-"): d for name, d in by_name.items()})
  )


def train(folder, runs, workers=2, **options):
  pool = pools.WorkerPool(workers, folder / "logs", COMMAND, **options)
  return pool, list(pool.train(runs, folder))


def kinds(events, *wanted):
  return [(event.kind, event.run.name) for event in events if event.kind in wanted]


def last_losses(events):
  return {event.run.name: event.row["loss"] for event in events if event.kind == "finished"}


def sittings(folder, name):
  return (folder / name / "sittings").read_text().splitlines()


def test_every_run_is_trained_once_by_pinned_workers(tmp_path):
  runs = runs_of(3)
  pool, events = train(tmp_path, runs)
  assert sorted(kinds(events, "finished")) == sorted(("finished", run.name) for run in runs)
  assert kinds(events, "started")[:2] == [("started", run.name) for run in runs[:2]]
  lines = [line for run in runs for line in sittings(tmp_path, run.name)]
  assert len(lines) == 3
  assert len({line.split()[0] for line in lines}) == 2, "each worker keeps its process for more than one run"
  if hasattr(os, "sched_setaffinity"):
    assert all(len(json.loads(line.split(" on ")[1])) == 1 for line in lines)
  assert pool.worker_seconds > 0


@pytest.mark.parametrize(("how", "words"), [("killed", "SIGKILL"), ("crashes", "the tensor fell over")])
def test_a_dead_worker_is_replaced_and_its_run_goes_on_from_its_checkpoint(tmp_path, how, words):
  runs = runs_of(2)
  undisturbed = last_losses(train(tmp_path / "undisturbed", runs)[1])
  directives(tmp_path, C1e9_w8_s0={"how": how, "at": 13})
  _, events = train(tmp_path, runs)
  again = [event for event in events if event.kind == "retried"]
  assert [event.run.name for event in again] == ["C1e9-w8-s0"] and words in again[0].text
  assert [line.split(" on ")[0].split(" ", 1)[1] for line in sittings(tmp_path, "C1e9-w8-s0")] == [
    "from 0",
    "from 10",
  ]
  assert len(sittings(tmp_path, "C1e9-w16-s0")) == 1
  assert last_losses(events) == undisturbed


def test_a_run_that_dies_too_often_has_failed_and_the_others_go_on(tmp_path):
  directives(tmp_path, C1e9_w16_s0={"how": "crashes", "at": 13, "times": 99})
  _, events = train(tmp_path, runs_of(3))
  assert len(sittings(tmp_path, "C1e9-w16-s0")) == 3
  (failed,) = [event for event in events if event.kind == "failed"]
  assert "RuntimeError: the tensor fell over" in failed.text and "worker-" in failed.text
  assert sorted(last_losses(events)) == ["C1e9-w24-s0", "C1e9-w8-s0"]


def test_a_diverged_run_fails_at_once_and_keeps_its_worker(tmp_path):
  directives(tmp_path, C1e9_w24_s0={"diverge": True})
  _, events = train(tmp_path, runs_of(3), workers=1)
  assert kinds(events, "failed", "retried") == [("failed", "C1e9-w24-s0")]
  pids = {line.split()[0] for name in ("C1e9-w24-s0", "C1e9-w8-s0") for line in sittings(tmp_path, name)}
  assert len(pids) == 1


def test_a_mistake_of_the_user_ends_the_sweep_after_the_others_have_saved(tmp_path):
  directives(tmp_path, C1e9_w8_s0={"how": "mistake", "at": 30, "sleep": 0.05}, C1e9_w16_s0={"sleep": 0.1})
  with pytest.raises(UserError, match="C1e9-w8-s0: the corpus is gone; bring it back"):
    train(tmp_path, runs_of(2))
  saved = json.loads((tmp_path / "C1e9-w16-s0" / "state.json").read_text())
  assert 0 < saved["step"] < 40


def test_a_worker_that_another_process_asks_to_leave_saves_and_is_replaced(tmp_path):
  directives(tmp_path, C1e9_w8_s0={"how": "asked to leave", "at": 13})
  _, events = train(tmp_path, runs_of(1), workers=1)
  assert kinds(events, "retried", "finished") == [("retried", "C1e9-w8-s0"), ("finished", "C1e9-w8-s0")]
  assert "from 13" in sittings(tmp_path, "C1e9-w8-s0")[1]


def test_a_worker_that_cannot_start_is_named_with_its_logs_last_line(tmp_path):
  pool = pools.WorkerPool(1, tmp_path, (sys.executable, "-c", "raise SystemExit('no such luck')"), attempts=2)
  events = list(pool.train(runs_of(1), tmp_path))
  assert kinds(events, "retried", "failed") == [("retried", "C1e9-w8-s0"), ("failed", "C1e9-w8-s0")]
  assert "no such luck" in events[-1].text


def signalled(folder, runs, ready, signals):
  """Trains, and sends the signals half a second apart as soon as every worker has said what `ready` wants."""
  pool, seen, sent = pools.WorkerPool(2, folder / "logs", COMMAND), [], []

  def send():
    for number in signals:
      os.kill(os.getpid(), number)
      time.sleep(0.5)

  with pools.stopped_by_signals(pool) as came, contextlib.closing(pool.train(runs, folder)) as events:
    for event in events:
      seen.append(event)
      if not sent and len({e.run.name for e in seen if e.kind == "row" and e.row["step"] >= ready}) == 2:
        sent.append(threading.Thread(target=send))
        sent[0].start()
    sent[0].join()
  assert came == signals
  return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_workers_save(tmp_path, number):
  directives(tmp_path, **{"*": {"sleep": 0.05, "steps": 4000}})
  before = signal.getsignal(number)
  seen = signalled(tmp_path, runs_of(4), 2, [number])
  stopped = kinds(seen, "stopped")
  assert len(stopped) == 2 and not kinds(seen, "finished")
  for _, name in stopped:
    step = json.loads((tmp_path / name / "state.json").read_text())["step"]
    assert step == max(event.row["step"] for event in seen if event.kind == "row" and event.run.name == name)
  assert signal.getsignal(number) is before


def test_a_press_that_comes_twice_is_one(tmp_path):
  directives(tmp_path, **{"*": {"sleep": 0.05, "steps": 4000}})
  pool, seen = pools.WorkerPool(2, tmp_path / "logs", COMMAND), set()
  with pools.stopped_by_signals(pool) as came, contextlib.closing(pool.train(runs_of(2), tmp_path)) as events:
    for event in events:
      seen |= {event.run.name} if event.kind == "row" else set()
      if len(seen) == 2 and not came:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
  assert came == [signal.SIGINT]
  assert all((tmp_path / run.name / "state.json").exists() for run in runs_of(2)), "each has saved"


def test_the_second_signal_does_not_wait(tmp_path):
  directives(tmp_path, **{"*": {"how": "hangs", "at": 3}})
  began = time.monotonic()
  seen = signalled(tmp_path, runs_of(4), 3, [signal.SIGINT, signal.SIGTERM])
  assert len(kinds(seen, "stopped")) == 2
  assert time.monotonic() - began < 30


def test_a_hang_up_and_the_end_of_a_session_are_one_request_to_save(tmp_path):
  directives(tmp_path, **{"*": {"sleep": 0.05, "steps": 4000}})
  seen = signalled(tmp_path, runs_of(4), 2, [signal.SIGHUP, signal.SIGTERM])
  assert len(kinds(seen, "stopped")) == 2
  assert all((tmp_path / name / "state.json").exists() for _, name in kinds(seen, "stopped"))


def test_an_abandoned_pool_leaves_no_process(tmp_path):
  directives(tmp_path, **{"*": {"sleep": 0.05, "steps": 4000}})
  pool = pools.WorkerPool(2, tmp_path / "logs", COMMAND)
  events = pool.train(runs_of(2), tmp_path)
  while next(events).kind != "row":
    pass
  pids = [int(path.read_text().split()[0]) for path in tmp_path.glob("*/sittings")]
  assert pids
  events.close()
  for pid in pids:
    with pytest.raises(ProcessLookupError):
      os.kill(pid, 0)


def test_logs_that_cannot_be_written_are_the_users_to_mend(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="logs"):
    list(pools.WorkerPool(1, tmp_path / "file" / "logs", COMMAND).train(runs_of(1), tmp_path))
