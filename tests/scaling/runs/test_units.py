"""Counts in billions or millions are recognized by their size, and converted or refused."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.laws import fit
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.planning import law_source
from gen.scaling.runs import runs_table, units

LAW = ParametricLaw(E=1.2, A=300.0, B=900.0, alpha=0.35, beta=0.37)


def table(params_unit=1.0, tokens_unit=1.0, with_flops=False):
  rows = ["params,tokens,loss" + (",flops" if with_flops else "")]
  for flops in (1e18, 7e18, 5e19):
    for n in LAW.optimum(flops)[0] * np.geomspace(0.4, 2.5, 5):
      d = flops / 6 / n
      row = [n / params_unit, d / tokens_unit, LAW.loss(n, d)] + ([flops] if with_flops else [])
      rows.append(",".join(f"{float(value)!r}" for value in row))
  return "\n".join(rows)


@pytest.mark.parametrize(
  ("kind", "value", "words"),
  [
    ("tokens", 300, "--tokens=300B"),
    ("tokens", 1.4, "--tokens=1.4T"),
    ("params", 70, "--params_unit=1e\\+09"),
    ("params", 350, "--params=350M"),
    ("params", 175_000, "write --params=175000M"),
    ("params", 7e20, "more than any model or corpus has"),
    ("tokens", -3, "above zero"),
    ("tokens", float("nan"), "finite"),
    ("tokens", float("inf"), "finite"),
  ],
)
def test_a_count_that_no_model_has_is_refused_with_its_likely_unit(kind, value, words):
  with pytest.raises(UserError, match=words) as caught:
    units.convert_count(kind, value)
  assert "\n" not in str(caught.value)


def test_a_unit_converts_and_one_says_that_the_number_is_meant():
  assert units.convert_count("params", 350, 1e6) == 350e6
  assert units.convert_count("tokens", 300, 1) == 300
  assert units.convert_count("params", 9e4, usual=(1e3, 1e12)) == 9e4
  for bad in (0.0, -1e9, float("nan"), float("inf")):
    with pytest.raises(UserError, match="tokens_unit"):
      units.convert_count("tokens", 300, bad)


@pytest.mark.parametrize("with_flops", [False, True])
@pytest.mark.parametrize(
  ("params_unit", "tokens_unit"), [(1, 1e9), (1e6, 1), (1e6, 1e9), (1e9, 1e9), (1e6, 1e6), (1e9, 1e12)]
)
def test_a_table_in_other_units_is_refused_and_the_flags_that_it_names_convert_it(
  tmp_path, params_unit, tokens_unit, with_flops
):
  path = tmp_path / "runs.csv"
  path.write_text(table(params_unit, tokens_unit, with_flops))
  wanted = [
    f"--{kind}_unit={size:g}" for kind, size in (("params", params_unit), ("tokens", tokens_unit)) if size > 1
  ]
  runs = runs_table.read_runs(path)
  with pytest.raises(UserError) as caught:
    units.convert_runs(runs, str(path), None, None)
  if with_flops or (params_unit, tokens_unit) not in ((1e9, 1e12), (1e6, 1e6)):
    assert all(flag in str(caught.value) for flag in wanted), str(caught.value)
  found = units.convert_runs(runs, str(path), params_unit, tokens_unit)
  assert found.flops == pytest.approx(np.repeat([1e18, 7e18, 5e19], 5))
  assert found.params[2] == pytest.approx(float(LAW.optimum(1e18)[0]))


def test_a_law_of_a_table_in_other_units_is_that_of_ones(tmp_path):
  path = tmp_path / "runs.csv"
  path.write_text(table(1e6, 1e9))
  with pytest.raises(UserError, match="--params_unit=1e\\+06 --tokens_unit=1e\\+09"):
    law_source.read_source(path)
  found = law_source.read_source(path, bootstraps=0, params_unit=1e6, tokens_unit=1e9)
  params = found.optimum(1e21).N
  assert params == pytest.approx(float(LAW.optimum(1e21)[0]), rel=1e-3)
  assert found.largest == pytest.approx(5e19)


def test_tables_of_ones_of_any_size_are_left_alone():
  random = np.random.default_rng(0)
  for flops in (6e11, 1e15, 3e19, 4e25):
    params = np.sqrt(flops / 6 / 30) * random.uniform(0.2, 5, 9)
    assert units.of_table(params, flops / 6 / params) == {}
    assert units.of_table(params, flops / 6 / params, np.full(9, 1.5 * flops)) == {}
  runs = fit.make_runs([2e6, 3e6], [9e7, 8e7], [3.0, 2.9], [1e15, 2e15])
  assert units.convert_runs(runs, "runs", None, None) is runs
