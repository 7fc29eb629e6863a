"""The page on extending: each file is at most 30 lines, and each command runs outside the repository, made small."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gen.training.run_log import journal
from tests import tiny_run

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
# Modules are imported once, and each command runs in a fork.
DRIVER = """
import json, os, runpy, sys
import gen.config, gen.presets, gen.config.validation
from gen.data import cache, dataset
from gen.generation import loaded_model; from gen.training import loop, trunks
for words in json.loads(sys.argv[1]):
  sys.stdout.flush()
  child = os.fork()
  if not child:
    sys.argv = words
    sys.orig_argv = [sys.executable, *words]
    code = 70
    try:
      runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
      code = end.code or 0
    os._exit(code)
  print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


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
  environment = os.environ | {
    "GEN_CACHE": str(tmp_path / "cache"),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0",
  }
  environment["PYTHONPATH"] = str(ROOT)
  done = subprocess.run(
    [sys.executable, "-c", DRIVER, json.dumps(commands)],
    cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1800,
  )  # fmt: skip
  codes = [line for line in done.stdout.splitlines() if re.fullmatch(r"-?\d+", line)]
  assert codes == ["0"] * len(commands), done.stdout + done.stderr
  assert len((tmp_path / "sizes.txt").read_text().splitlines()) == 2  # the callback, at steps 2 and 4
  rows = [
    row for folder in (tmp_path / "runs").iterdir() for row in journal.read_journal(folder / "journal.jsonl")
  ]
  assert [list(row["metrics"]) for row in rows if "metrics" in row] == [["accuracy"]]
  assert sum(bool(row["config"]["sources"]) for row in rows if row["kind"] == "result") == len(commands) - 1


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_is_named_by_a_command(name):
  assert any(name in word for words in COMMANDS for word in words)
