"""One run from the shell: trained, judged, gone on with, and refused in a sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gen.training.checkpointing import checkpoint_folder
from tests import programs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  folder = tmp_path_factory.mktemp("pretrain")
  lines = (json.dumps({"text": f"the cat {i} sat on mat {i * i}."}) for i in range(120))
  (folder / "text.jsonl").write_text("\n".join(lines) + "\n")
  return folder


def call(place, config, *flags):
  words = ["experiments/pretrain.py", f"--config=configs/{config}.py"]
  words += [f"--config.data.corpus=jsonl:{place / 'text.jsonl'}", "--config.data.length=16", *flags]
  return programs.run(words, env=os.environ | {"GEN_CACHE": str(place / "cache")})


def test_a_run_of_a_sweep_is_trained_alone_and_found_done_the_second_time(place):
  flags = (
    "--config.flops=3e8", "--config.model.width=8", "--config.model.head_width=4",
    f"--workdir={place / 'trial'}", "--json=-",
  )  # fmt: skip
  first = call(place, "chinchilla", *flags)
  assert first.returncode == 0, first.stderr
  result = json.loads(first.stdout)
  assert (
    result["flops"] == pytest.approx(3e8, rel=0.05)
    and result["params"] == 12 * 2 * 8**2 + result["config"]["model"]["vocab"] * 8
  )
  assert result["bits_per_byte"] == pytest.approx(result["loss"] / 0.693147, rel=0.05)
  second = call(place, "chinchilla", *flags)
  assert second.returncode == 0 and json.loads(second.stdout) == result
  assert "epochs of" in first.stderr and "finished already" not in first.stderr
  assert "trial is finished already; this is its result" in second.stderr
  other = call(place, "chinchilla", *flags, "--config.seed=7")
  assert other.returncode == 2 and "another run (seed: 0 -> 7)" in other.stderr, other.stderr
  assert len(other.stderr.strip().splitlines()) == 1, "the corpus was built before the refusal"


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["--json=no/such/folder/x.json"], "does not exist; create that folder first"),
    (["--config.seed=5000000000"], "seed is 5000000000"),
    (["--config.steps=3", "--config.tokens=100"], "exactly one of steps, tokens and flops"),
    (["--config.data.vocab=0"], "data.vocab"),
  ],
)
def test_a_mistake_is_said_before_anything_is_built(place, flags, words):
  done = call(place, "decoder", f"--workdir={place / 'never'}", *flags)
  assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1 and not (place / "never").exists()


# The terminal becomes the session's own, so that the system sends SIGHUP when it is closed.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_run_whose_terminal_is_closed_is_saved(place):
  """A terminal's end reaches its programs as SIGHUP, and whatever they write afterwards fails."""
  workdir = place / "hung up"
  flags = (
    "--config.model.width=8",
    "--config.model.head_width=4",
    "--config.model.depth=1",
    "--config.steps=500000",
  )
  words = [sys.executable, "-c", ON_TERMINAL, "experiments/pretrain.py", *flags, "--config.log_every=5"]
  words += [f"--config.data.corpus=jsonl:{place / 'text.jsonl'}", "--config.data.tokenizer=bytes"]
  ours, theirs = os.openpty()
  ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
  environment = os.environ | {"GEN_CACHE": str(place / "cache")}
  with subprocess.Popen([*words, f"--workdir={workdir}"], cwd=ROOT, env=environment, **ends) as process:
    os.close(theirs)
    shown = b""
    while b"loss" not in shown:
      shown += os.read(ours, 1000)
    os.close(ours)
    assert process.wait(120) == 130
  (saved,) = checkpoint_folder.complete_steps(workdir / "checkpoints")
  assert saved > 0 and checkpoint_folder.find_damages(workdir / "checkpoints", saved) == []
