import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from gen.interop import runs

SCRIPTS = Path(__file__).parents[2] / "scripts"
FIXTURES = Path(__file__).parents[1] / "interop" / "fixtures"


def run(script, *arguments):
  return subprocess.run(
    [sys.executable, SCRIPTS / script, *map(str, arguments)], capture_output=True, text=True, check=False
  )


def test_a_checkpoint_becomes_a_run_and_a_checkpoint_again(tmp_path):
  source, workdir, output = FIXTURES / "t5-lm", tmp_path / "run", tmp_path / "out"
  done = run("import_checkpoint.py", f"--source={source}", f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert "encoder_decoder, width 10" in done.stdout
  done = run("export_checkpoint.py", f"--workdir={workdir}", f"--output={output}")
  assert done.returncode == 0, done.stderr
  assert "T5ForConditionalGeneration" in done.stdout
  before, after = load_file(source / "model.safetensors"), load_file(output / "model.safetensors")
  assert before.keys() == after.keys()
  assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_class_without_a_head_stays_without(tmp_path):
  runs.import_checkpoint(FIXTURES / "gpt2", tmp_path / "run")
  model = runs.export_checkpoint(tmp_path / "run", tmp_path / "out")
  assert model.hf["architectures"] == ["GPT2Model"] and model.hf["scale_attn_weights"] is False


def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path):
  for script, arguments, says in (
    ("import_checkpoint.py", (), "--source is not given"),
    (
      "import_checkpoint.py",
      (f"--source={tmp_path / 'no'}", f"--workdir={tmp_path / 'x'}"),
      "no is not a folder",
    ),
    ("export_checkpoint.py", (f"--workdir={tmp_path}", f"--output={tmp_path / 'y'}"), "has no config.json"),
  ):
    done = run(script, *arguments)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr and done.stderr.count("\n") == 1
