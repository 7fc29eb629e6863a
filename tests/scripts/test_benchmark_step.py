import json
from pathlib import Path

import pytest

from gen import counts
from gen.config import Model
from tests import programs

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_step.py"
SIZES = {"width": 12, "depth": 2, "heads": 3, "length": 20, "batch": 5, "vocab": 40, "steps": 3}


def run(*arguments):
  return programs.run([SCRIPT, *arguments])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp("cache")


def test_the_numbers_of_a_step_agree_with_one_another(cache):
  sizes = [f"--{name}={value}" for name, value in SIZES.items()]
  done = run(*sizes, "--family=decoder", "--threads=1", f"--cache={cache}", "--json=-")
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  tokens, seconds = 5 * 20, found["cpu_seconds_per_step"]
  # 6 N + 12 L d T with N = 12 L d^2 + V d
  flops = (6 * (12 * 2 * 12**2 + 40 * 12) + 12 * 2 * 12 * 20) * tokens
  assert found["tokens_per_cpu_second"] == pytest.approx(tokens / seconds)
  assert found["gflops"] == pytest.approx(flops / seconds / 1e9)
  assert found["utilization"] == pytest.approx(found["gflops"] / found["matmul_gflops"])
  assert 0 < found["utilization"] < 1
  assert found["tokens_per_second"] > 0
  assert 0 < found["input_cpu_seconds_per_step"] < 0.1
  assert found["first_step_seconds"] > seconds
  # Parameters, gradients' moments and both of AdamW exist at least.
  model = Model(
    width=12, depth=2, heads=3, head_width=4, vocab=40, context=20, positions="learned", tied=True
  )
  assert found["peak_bytes"] > 3 * 4 * counts.count_parameters(model).total


def test_mistakes_end_with_one_sentence_and_code_2(cache):
  for arguments, says in (
    (["--width=10", "--heads=3"], "not a multiple of --heads=3"),
    (["--steps=0"], "--steps=0: 0 is too small"),
    (["--threads=999"], "--threads=999"),
    (["--set=widht=3"], "no field 'widht'"),
    (["--set=scan=maybe"], "must be of type bool"),
    (["--family=tree"], "--family"),
    (["--width=12", "--heads=3", "--vocab=7"], "too small for text"),
  ):
    done = run(*arguments, f"--cache={cache}")
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
