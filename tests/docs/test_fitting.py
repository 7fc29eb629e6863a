"""The page on fitting does what it says."""

import pytest


def test_every_block_of_the_page_runs_in_order(walk, capsys):
  names = walk("fitting.md")
  law = names["fitted"].law
  assert (law.alpha, law.beta) == pytest.approx((0.35, 0.37), abs=0.1)
  assert names["law"]["E"] == pytest.approx(law.E, rel=1e-9)
  assert not names["all_fits"].errors
  assert "parameters" in capsys.readouterr().out
