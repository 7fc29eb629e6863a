"""The page for anybody's table of runs."""

import numpy as np

from gen.scaling.laws.law import ParametricLaw
from gen.scaling.report import table_report
from gen.scaling.runs import runs_table


def test_a_table_of_runs_has_a_page_with_laws_valleys_and_a_next_budget(tmp_path):
  law, random = ParametricLaw(1.7, 400.0, 1900.0, 0.34, 0.36), np.random.default_rng(3)
  flops = np.repeat([1e18, 4e18, 1.6e19], 5)
  params = law.optimum(flops)[0] * np.tile(np.geomspace(0.3, 3.3, 5), 3)
  loss = law.loss(params, flops / 6 / params) * np.exp(0.001 * random.standard_normal(15))
  runs = runs_table.make_runs(params, flops / 6 / params, loss, flops, names=[f"run<{i}>" for i in range(15)])
  found = table_report.fit_results(runs, [], "mine.csv", 20, 0)
  table_report.write_page(tmp_path / "page.html", found, [])
  page = (tmp_path / "page.html").read_text()
  assert "mine.csv" in page and "run&lt;3&gt;" in page and "run<3>" not in page
  lines = table_report.next_lines(found)
  assert any("next, at 1.6e+20 FLOPs by parametric" in line for line in lines)
