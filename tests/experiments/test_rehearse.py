"""The command, through its own entry: a config and a law in, how often each criterion was met out."""

import json
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]
CONSTANTS = {"E": 1.05, "A": 66.0, "B": 1784.0, "alpha": 0.48, "beta": 0.58}


def run(*words):
  return programs.run(["experiments/rehearse.py", "--config=configs/full.py", *words])


def test_a_law_and_a_noise_give_the_counts_as_json(tmp_path):
  (tmp_path / "law.json").write_text(json.dumps(CONSTANTS))
  done = run(f"--law={tmp_path / 'law.json'}", "--noise=0", "--studies=1", "--json=-")
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert found["law"]["alpha"] == pytest.approx(0.48) and found["noise"] == 0
  assert found["vocab"] == 260  # what the study's models have: the bytes, without the ids of other objectives
  met = {one["name"]: one["met"] for one in found["criteria"]}
  assert met["valleys"] == met["held_out_size"] == 1 and "intervals_overlap" not in met


@pytest.mark.parametrize(
  ("content", "flags", "sentence"),
  [
    (None, [], "no law is given; name the results.json of earlier runs"),
    (CONSTANTS, [], "has no size with several seeds, so the noise is unknown; give it with --noise=NATS"),
    ({"N_coefficient": 0.1, "a": 0.5}, ["--noise=0.1"], "holds a law of the optimum alone"),
    (CONSTANTS, ["--noise=-1"], "--noise=-1: -1 is too small"),
    (CONSTANTS, ["--noise=0.1", "--config.seeds=(1,)"], "config.budgets has 5 entries, config.seeds 1"),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(content, flags, sentence, tmp_path):
  if content is not None:
    (tmp_path / "law.json").write_text(json.dumps(content))
    flags = [f"--law={tmp_path / 'law.json'}", *flags]
  done = run(*flags)
  assert done.returncode == 2 and sentence in done.stderr and not done.stdout
  assert len(done.stderr.splitlines()) == 1
