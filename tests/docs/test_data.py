"""The page on text: its commands on mixtures run on small texts, and its settings are what a config takes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gen.cli import overrides
from gen.config import Run, Sweep, validation

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text()
SMALL = {
  "experiments/pretrain.py": "--config.steps=3 --config.model.width=16 --config.model.head_width=8"
  " --config.model.depth=1",
  "experiments/tune_mixture.py": "--config.budgets=(2e8,) --config.widths=((8,),) --config.held_out=4e8"
  " --config.held_out_widths=(8,) --config.model.depth=1 --config.bootstraps=5 --config.workers=1 --interior=2",
}


@pytest.fixture
def folder(tmp_path):
  """A folder with one small text for each corpus that the page names."""
  for name in ("manual", "law"):
    (tmp_path / "texts" / name).mkdir(parents=True)
    for number in range(60):
      text = f"{name} {number} says something about its number, which is {number * number}. " * 20
      (tmp_path / "texts" / name / f"{number}.txt").write_text(text)
  return tmp_path


def test_the_commands_on_mixtures_run(folder):
  commands = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
  ]
  assert [command.split()[2] for command in commands] == list(SMALL)
  for command in commands:
    _, _, script, *words = shlex.split(command)
    words = [
      re.sub(r"\b(manual|law)\b", lambda name: str(folder / "texts" / name[0]), word) for word in words
    ]
    words += [
      *shlex.split(SMALL[script]),
      "--config.data.validation_tokens=1000",
      "--config.data.tokenizer=bytes",
    ]
    if "mixture" in script:
      words.append(f"--config.data.mixture={folder}/texts/manual=1,{folder}/texts/law=1")
    done = subprocess.run(
      [sys.executable, script, *words, f"--config.data.cache={folder}/cache", f"--workdir={folder}/{script[12:]}"],
      cwd=ROOT, env=os.environ | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
  assert (folder / "tune_mixture.py" / "mixture.png").is_file()


def test_the_python_of_the_page_runs():
  (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
  exec(compile(block, "data.md", "exec"), {})


def test_the_settings_of_the_page_are_settings():
  words = re.findall(r"`(--config\.[^`]+=[^`]+)`", PAGE[PAGE.index("## Mixtures") :])
  words = [word.replace("'", "") for word in words]
  assert len(words) >= 6
  for word in words:
    overrides.check_overrides([word], Sweep if "--config.unique" in word else Run)
  for text in ("manual=0.7,law=0.3", "law=0.3 max 4 epochs,manual=1", "law=0,manual=1"):
    assert all(part in PAGE for part in text.split(",")[:1])
    run = Run(steps=3)
    run.data.mixture = text
    validation.check_run(run)
