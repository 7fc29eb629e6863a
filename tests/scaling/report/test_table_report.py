"""The page for anybody's table of runs."""

import html
import re
from pathlib import Path

import numpy as np
import pytest

from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.audits import audit
from gen.scaling.laws import three_fits
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.report import study_page, table_report
from gen.scaling.runs import runs_table
from gen.scaling.verdicts.verdict import Prediction


def runs_of(outlier=1.0):
  law, random = ParametricLaw(1.7, 400.0, 1900.0, 0.34, 0.36), np.random.default_rng(3)
  flops = np.repeat([1e18, 4e18, 1.6e19], 5)
  params = law.optimum(flops)[0] * np.tile(np.geomspace(0.3, 3.3, 5), 3)
  loss = law.loss(params, flops / 6 / params) * np.exp(0.001 * random.standard_normal(15))
  loss[4] *= outlier
  return runs_table.make_runs(params, flops / 6 / params, loss, flops, names=[f"run<{i}>" for i in range(15)])


def test_a_table_of_runs_has_a_page_with_laws_valleys_and_a_next_budget(tmp_path):
  runs = runs_of()
  found = table_report.fit_results(runs, [], "mine.csv", 20, 0, 0.8)
  table_report.write_page(tmp_path / "page.html", found, [])
  page = (tmp_path / "page.html").read_text()
  assert "80 % of N*" in page and "90 %" not in page
  assert "mine.csv" in page and "run&lt;3&gt;" in page and "run<3>" not in page
  lines = table_report.next_lines(found)
  assert any("next, at 1.6e+20 FLOPs by parametric" in line for line in lines)


def test_the_page_says_what_the_audit_found_and_its_grade(tmp_path):
  runs = runs_of(outlier=1.4)
  audited = audit.audit_runs(runs, bootstraps=20).as_dict()
  assert audited["alarms"]
  found = table_report.fit_results(runs, [], "mine.csv", 20, 0, 0.8, audited)
  table_report.write_page(tmp_path / "page.html", found, [])
  text = (tmp_path / "page.html").read_text()
  assert f"Audit grade {audited['grade']}" in text and f"the audit gives grade {audited['grade']}" in text
  shown = html.unescape(text)
  for one in audited["findings"]:
    assert one["sentence"] in shown and one["name"].replace("_", " ") in shown
  checks = text[text.index('<h2 id="audit">') :]
  states = re.findall(r'<span class="state">(\w+)</span>', checks[: checks.index("</ul>")])
  assert len(states) == len(audited["findings"])
  assert states == sorted(states, key=["alarm", "pass", "skipped"].index)


def test_a_study_that_the_audit_refuses_says_so_on_its_page():
  found = table_report.fit_results(
    runs_of(), [], "mine.csv", 20, 0, 0.8, {"error": "the study is refused: <b>"}
  )
  text = study_page.render_page(typed_json.encode_record(found), [])
  assert "Refused by the audit" in text and "the study is refused: &lt;b&gt;" in text
  assert "Not credible, because the audit refuses the study" in text


def test_a_page_that_the_disk_refuses_is_one_sentence():
  empty = table_report.TableStudy("mine.csv", [], three_fits.failed_entries("no runs"), Prediction(), 0.9)
  with pytest.raises(UserError, match="cannot write /dev/full: No space"):
    table_report.write_page(Path("/dev/full"), empty, [])
