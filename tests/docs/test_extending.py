"""The page on extending: each file is at most 30 lines, and each command runs outside the repository, made small."""

import os
import re
import shlex
from pathlib import Path

import pytest

from gen.training.run_log import journal
from tests import programs, tiny_run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [
  shlex.split(line)
  for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
  for line in block.replace("\\\n", " ").splitlines()
]
SMALL = ["--config.steps=4", "--config.evaluate_every=0", "--config.model.width=12", "--config.model.depth=2",
         "--config.model.head_width=6", "--config.data.length=24", "--config.data.batch=3",
         "--config.data.validation_fraction=0.3", "--config.data.validation_tokens=100"]  # fmt: skip


def shrunk(words, number, corpus):
  """Returns a command of the page as it runs here: its script, and its flags with those that make it small."""
  assert words[:2] == ["uv", "run"]
  script, flags = str(ROOT / words[2]), words[3:]
  if words[2] != "experiments/pretrain.py":
    return [script, *flags]
  flags = [flag.replace("=configs/", f"={ROOT}/configs/") for flag in flags]
  given = {flag.partition("=")[0] for flag in flags}
  more = [
    *SMALL,
    f"--config.data.corpus={corpus}",
    "--config.data.tokenizer=bytes",
    f"--workdir=runs/{number}",
  ]
  config, *rest = flags
  return [script, config, *[flag for flag in more if flag.partition("=")[0] not in given], *rest]


def test_every_file_of_the_page_is_at_most_thirty_lines():
  assert len(FILES) == 13
  assert {name: len(text.splitlines()) for name, text in FILES.items() if len(text.splitlines()) > 30} == {}


def test_every_command_of_the_page_runs_on_its_files(tmp_path):
  for name, text in FILES.items():
    (tmp_path / name).write_text(text)
  corpus = tiny_run.write_corpus(tmp_path)
  commands = [shrunk(words, number, corpus) for number, words in enumerate(COMMANDS)]
  assert len(commands) == 15
  environment = os.environ | {"GEN_CACHE": str(tmp_path / "cache")}
  for words in commands:
    done = programs.run(words, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
  assert len((tmp_path / "sizes.txt").read_text().splitlines()) == 2  # the callback, at steps 2 and 4
  rows = [
    row for folder in (tmp_path / "runs").iterdir() for row in journal.read_journal(folder / "journal.jsonl")
  ]
  assert [list(row["metrics"]) for row in rows if "metrics" in row] == [["accuracy"]]
  assert sum(bool(row["config"]["sources"]) for row in rows if row["kind"] == "result") == len(commands) - 1


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_is_named_by_a_command(name):
  assert any(name in word for words in COMMANDS for word in words)
