import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gen.config import Data, Model, Sweep, to_dict
from gen.scaling.sweeps import design
from gen.scaling.workers import worker

FAKE = Path(__file__).parents[1] / "fake_worker.py"


def a_run():
  study = Sweep(model=Model(head_width=8), data=Data(length=8, batch=2), budgets=(1e9,), widths=((8,),))
  return design.expand_sweep(study, 259)[0]


@contextlib.contextmanager
def started(tmp_path, sleep=0.002, **directive):
  (tmp_path / "directives.json").write_text(json.dumps({"*": {"sleep": sleep} | directive}))
  process = subprocess.Popen([sys.executable, str(FAKE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
  try:
    yield process
  finally:
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def send(process, **command):
  process.stdin.write(json.dumps(command).encode() + b"\n")
  process.stdin.flush()


def train(process, tmp_path):
  run = a_run()
  send(process, command="train", config=to_dict(run), folder=str(tmp_path / run.name))
  return tmp_path / run.name


def hear(process):
  return json.loads(process.stdout.readline())


def test_a_worker_says_each_row_and_the_result_and_waits_for_the_next_run(tmp_path):
  with started(tmp_path) as process:
    folder = train(process, tmp_path)
    replies = [hear(process)]
    while replies[-1]["reply"] != "finished":
      replies.append(hear(process))
    assert [message["row"]["step"] for message in replies if message["row"]["kind"] == "train"] == list(
      range(1, 41)
    )
    assert replies[-1]["row"]["kind"] == "result"
    train(process, tmp_path)  # Its state is at the end: only the result comes.
    assert hear(process)["row"]["kind"] == "result"
    assert process.poll() is None
    assert len((folder / "sittings").read_text().splitlines()) == 2


def test_a_worker_whose_pool_dies_exits_at_once(tmp_path):
  with started(tmp_path, sleep=30) as process:
    folder = train(process, tmp_path)
    while not (folder / "sittings").exists():
      time.sleep(0.02)
    process.stdin.close()
    began = time.monotonic()
    assert process.wait(25) == worker.ORPHANED
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("how", ["message", "SIGTERM", "SIGINT"])
def test_a_worker_that_is_asked_to_stop_saves_first(tmp_path, how):
  import signal

  with started(tmp_path, sleep=0.05) as process:
    folder = train(process, tmp_path)
    while (last := hear(process)["row"]["step"]) < 3:
      pass
    if how == "message":
      send(process, command="stop")
    else:
      process.send_signal(getattr(signal, how))
    reply = hear(process)
    while reply["reply"] == "row":
      last, reply = reply["row"]["step"], hear(process)
    assert reply == {"reply": "stopped"} and process.wait(25) == 0
    assert json.loads((folder / "state.json").read_text())["step"] == last


def test_what_a_row_has_shown_is_saved_though_the_stop_comes_before_the_first_question(tmp_path):
  with started(tmp_path, sleep_before_asking=0.5) as process:
    folder = train(process, tmp_path)
    assert hear(process)["row"]["step"] == 1
    send(process, command="stop")
    assert hear(process) == {"reply": "stopped"} and process.wait(25) == 0
    assert json.loads((folder / "state.json").read_text())["step"] == 1


def test_a_worker_that_has_nothing_to_save_leaves_though_it_is_busy(tmp_path):
  with started(tmp_path, sleep=30) as process:
    folder = train(process, tmp_path)
    while not (folder / "sittings").exists():
      time.sleep(0.02)
    send(process, command="stop")
    assert process.wait(25) == 0


def test_what_libraries_print_does_not_disturb_the_replies(tmp_path):
  script = "import os; from gen.scaling.workers import worker\n"
  script += (
    "def train(run, folder, hooks):\n  print('a banner'); os.write(1, b'from C'); return {'kind': 'result'}\n"
  )
  script += "worker.run_worker(train)"
  process = subprocess.Popen(
    [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
  )
  send(process, command="train", config=to_dict(a_run()), folder=str(tmp_path))
  assert hear(process) == {"reply": "finished", "row": {"kind": "result"}}
  process.stdin.close()
  assert b"from C" in process.stderr.read()
  process.wait(25)
  process.stdout.close()
  process.stderr.close()


def test_importing_the_sweep_starts_and_imports_nothing_heavy():
  code = "import sys; from gen.scaling.sweeps import design\n"
  code += "from gen.scaling.workers import ledger, pool, progress, worker; sys.exit('jax' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
