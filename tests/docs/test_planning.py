"""The page from runs to a plan does what it says."""

import json
from pathlib import Path

import pytest

from gen.scaling.runs import conventions

PAGE = Path(__file__).parents[2] / "docs" / "planning.md"


def test_every_block_of_the_page_runs_in_order(walk, tmp_path, capsys):
  names = walk(PAGE.name)
  assert names["checked"].grade == "A" and "grade A" in capsys.readouterr().out
  low, high = names["planned"].interval["N"]
  assert low < names["planned"].N < high and names["planned"].cost > 0
  assert json.loads((tmp_path / "plan.json").read_text())["N"] == pytest.approx(40.4e9, rel=0.01)


def test_the_page_names_every_convention():
  text = PAGE.read_text()
  assert all(f"`{name}`" in text for name in (*conventions.PARAMETERS, *conventions.FLOPS))
