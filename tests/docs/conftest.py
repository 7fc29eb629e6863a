"""Pages whose blocks are run in their order, Python in one namespace and commands as a shell would."""

import re
import shlex
from pathlib import Path

import pytest

from tests import programs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def walk(tmp_path, monkeypatch):
  """Runs the blocks of a page of docs/ in an empty folder; returns what its Python defined."""

  def through(name):
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = re.findall(r"```(python|sh)\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)
    assert blocks
    for language, block in blocks:
      if language == "python":
        exec(compile(block, name, "exec"), names)
        continue
      for words in map(shlex.split, block.splitlines()):
        assert words[:2] == ["uv", "run"]
        done = programs.run([ROOT / words[2], *words[3:]], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    return names

  return through
