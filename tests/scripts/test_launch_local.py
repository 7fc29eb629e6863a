"""Several processes of a toy program: what each is told, how signals reach it, and what is said of a wrong call."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOY = """
import os, signal, sys, time
index = os.environ["JAX_PROCESS_ID"]
def stop(*_):
  sys.exit(30 + int(index))
signal.signal(signal.SIGTERM, stop)
told = " ".join([os.environ["JAX_NUM_PROCESSES"], os.environ.get("XLA_FLAGS", "-"), *sys.argv[1:]])
open(f"{sys.argv[1]}/{index}", "w").write(told + "|" + os.environ["JAX_COORDINATOR_ADDRESS"])
code = sys.argv[2].split(",")[int(index)]
time.sleep(60) if code == "wait" else sys.exit(int(code))
"""


def start(tmp_path, *words, codes="0,0"):
  program = tmp_path / "toy.py"
  program.write_text(TOY)
  told = tmp_path / "told"
  told.mkdir()
  return told, subprocess.Popen(
    [
      sys.executable,
      "scripts/launch_local.py",
      *words,
      str(program),
      str(told),
      codes,
      "--config.mesh=data=4",
    ],
    cwd=ROOT,
    stderr=subprocess.PIPE,
    text=True,
  )


def test_each_process_is_told_its_place_and_its_devices(tmp_path):
  told, run = start(tmp_path, "--processes=3", "--devices_per_process=2", codes="0,0,0")
  assert run.wait(60) == 0
  texts = {path.name: path.read_text().split("|") for path in told.iterdir()}
  assert set(texts) == {"0", "1", "2"}
  assert len({address for _, address in texts.values()}) == 1
  flag = "--xla_force_host_platform_device_count=2"
  assert texts["1"][0] == f"3 {flag} {told} 0,0,0 --config.mesh=data=4"


def test_the_code_is_that_of_the_process_at_fault(tmp_path):
  assert start(tmp_path, codes="75,2")[1].wait(60) == 2


def test_a_signal_reaches_all(tmp_path):
  told, run = start(tmp_path, codes="wait,wait")
  while len(list(told.iterdir())) < 2:
    assert run.poll() is None
  run.send_signal(signal.SIGTERM)
  assert run.wait(60) in (30, 31)


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    ([], "error: name the program to start"),
    (["--processes=2", "experiments/nothing.py"], "error: no such program: experiments/nothing.py"),
    (["--processes=0", "experiments/pretrain.py"], "give at least one process"),
    (["--procesess=2", "experiments/pretrain.py"], "error: Unknown command line flag 'procesess'"),
  ],
)
def test_a_wrong_call_is_one_sentence(words, sentence):
  done = subprocess.run(
    [sys.executable, "scripts/launch_local.py", *words], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 2
  assert sentence in done.stderr
  assert "Traceback" not in done.stderr
