import importlib.util
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from gen.training.checkpointing.checkpoints import Checkpoints

SCRIPT = Path(__file__).parents[2] / "scripts" / "checkpoints.py"


def _main():
  spec = importlib.util.spec_from_file_location("checkpoints_script", SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.main


@pytest.fixture
def run_script(capsys):
  main = _main()

  def run(*words):
    code = main([str(word) for word in words])
    return code, capsys.readouterr()

  return run


@pytest.fixture
def saved(tmp_path):
  with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
    for step in (10, 20):
      kernel = jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3) * step
      state = {"kernel": kernel, "bias": jnp.ones(3), "none": jnp.zeros((0, 2))}
      checkpoints.save(step, state, {"config": {"width": 8, "depth": 2}, "data": {"position": step}})
  return tmp_path / "run"


@pytest.mark.parametrize(
  ("command", "libraries", "last"), [("ls", {"tensorstore"}, "3"), ("verify", set(), "step 20: ok")]
)
def test_looking_needs_no_jax_and_only_opening_arrays_needs_tensorstore(saved, command, libraries, last):
  code = f"""
import runpy, sys
sys.argv = ["checkpoints.py", {command!r}, {str(saved)!r}]
try:
  runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
except SystemExit as end:
  assert end.code == 0, end.code
assert not set(sys.modules) & {{"jax", "orbax", "flax", *{sorted(libraries)!r}}}
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
  assert done.returncode == 0 and done.stdout.endswith(f"{last}\n"), done.stderr


def test_ls_lists_steps_and_what_does_not_count(saved, run_script):
  (saved / "checkpoints" / "000000030.partial").mkdir()
  code, printed = run_script("ls", saved)
  rows = [line.split() for line in printed.out.splitlines()[2:]]
  assert code == 0 and [row[0] for row in rows] == ["10", "20", "000000030"]
  assert rows[0][-1] == "3" and rows[2][1] == "partial,"


def test_verify_names_the_changed_file_and_fails(saved, run_script):
  largest = max(
    (saved / "checkpoints" / "000000010").rglob("*"), key=lambda path: path.stat().st_size * path.is_file()
  )
  content = bytearray(largest.read_bytes())
  content[len(content) // 2] ^= 4
  largest.write_bytes(content)
  code, printed = run_script("verify", saved / "checkpoints")
  assert code == 1
  assert f"step 10: damaged: {largest.relative_to(saved / 'checkpoints' / '000000010')}" in printed.out
  assert "step 20: ok" in printed.out
  assert run_script("verify", saved, 20)[0] == 0
  assert run_script("verify", saved / "checkpoints" / "000000010")[0] == 1


def test_show_prints_meta_and_arrays_of_the_latest_or_the_named_step(saved, run_script):
  code, printed = run_script("show", saved)
  assert code == 0 and '"position": 20' in printed.out and "bfloat16  [2, 3]" in printed.out
  assert "3 arrays, 9 numbers" in printed.out
  assert '"position": 10' in run_script("show", saved, 10)[1].out


def test_diff_tells_meta_arrays_and_on_request_numbers_apart(saved, tmp_path, run_script):
  code, printed = run_script("diff", saved, 10, 20)
  assert code == 1 and printed.out == "meta.data.position: 10 | 20\nmeta.step: 10 | 20\n"
  code, printed = run_script("diff", "--values", saved, 10, 20)
  assert printed.out.splitlines()[2:] == ["kernel: 83.3% of the numbers differ, by 50 at most (largest 50)"]
  assert run_script("diff", "--values", saved, 20, 20) == (0, ("no difference\n", ""))
  with Checkpoints(tmp_path / "other") as checkpoints:
    checkpoints.save(20, {"kernel": np.zeros((2, 4), np.float32), "gain": np.zeros(1)}, {})
  lines = run_script("diff", saved, 20, tmp_path / "other")[1].out.splitlines()
  assert {
    "kernel: bfloat16[2,3] | float32[2,4]",
    "bias: only in the first",
    "gain: only in the second",
  } <= set(lines)


@pytest.mark.parametrize(
  ("words", "sentence"),
  [
    (["show", "nowhere"], "nowhere is not a folder"),
    (["show", "RUN", "15"], "no checkpoint of step 15; complete steps: 10, 20"),
    (["verify", "RUN", "15"], "no checkpoint of step 15"),
    (["diff", "RUN"], "diff compares two checkpoints, not 1"),
    (["show", "EMPTY"], "has no complete checkpoint"),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(saved, tmp_path, run_script, words, sentence):
  (tmp_path / "empty").mkdir()
  places = {"RUN": saved, "EMPTY": tmp_path / "empty"}
  code, printed = run_script(*(places.get(word, word) for word in words))
  assert code == 2 and sentence in printed.err and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize("name", ["a%20b#c?d[1]*\\", "line\nend \x1b[31m", "\udcff\udcfe"], ids=ascii)
def test_numbers_are_compared_in_a_folder_of_any_name_which_is_shown_as_one_line(
  saved, tmp_path, run_script, name
):
  folder = tmp_path / name
  saved.rename(folder)
  code, printed = run_script("diff", "--values", folder, 10, folder, 20)
  assert code == 1 and "kernel: 83.3% of the numbers differ" in printed.out
  for command in ("ls", "show", "verify"):
    code, printed = run_script(command, folder)
    assert code == 0 and all(line.isprintable() for line in printed.out.splitlines())
  code, printed = run_script("show", folder, 15)
  assert code == 2 and printed.err.count("\n") == 1 and printed.err[:-1].isprintable()


def test_a_stray_file_is_named_and_is_no_damage(saved, run_script):
  (saved / "checkpoints" / "000000020" / "state" / ".DS_Store").write_bytes(b"x")
  assert run_script("verify", saved, 20) == (
    0,
    ("step 20: ok; not part of it, and ignored: state/.DS_Store\n", ""),
  )


def test_verify_takes_the_folder_of_a_sweep(saved, run_script):
  sweep = saved.parent
  code, output = run_script("verify", sweep)
  assert code == 0 and output.out.splitlines() == [f"{saved / 'checkpoints'}:", "step 10: ok", "step 20: ok"]
  code, output = run_script("show", sweep)
  assert code == 2 and output.err.strip().endswith("it is the folder of several runs: run")
