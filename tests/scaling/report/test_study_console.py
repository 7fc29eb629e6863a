"""A study on a terminal: every table, every reason, and no number cut by a narrow terminal."""

import io

from rich.console import Console

from gen.scaling.report import study_console, view


def printed(results, width=30):
  """Returns what a terminal of so many columns shows."""
  results = {"failed": {}, "utilization": {"share": 0.75}} | results
  file = io.StringIO()
  study_console.print_study(Console(file=file, width=width, highlight=False, soft_wrap=True), results)
  return file.getvalue()


def test_tables_failures_and_the_verdict_are_printed(results):
  results["failed"] = {"b0-w7": "the loss diverged"}
  text = printed(results)
  assert "b0-w7 has no result: the loss diverged" in text
  verdict = "credible" if results["verdict"]["credible"] else "not credible"
  assert f"\n{verdict}\n" in text
  for reason in results["verdict"]["reasons"]:
    assert f"  {'met    ' if reason['passed'] else 'NOT MET'}  {reason['sentence']}" in text


def test_no_number_is_cut_on_a_narrow_terminal(results):
  assert printed(results, 30) == printed(results, study_console.MIN_COLUMNS)


def test_each_budget_has_one_best_size(results):
  shown = view.read_results(results)
  table = study_console.size_table(shown)
  stars = [row.cells[0].text for row in table.rows if row.cells[-1].text == "*"]
  assert len(stars) == len(set(stars)) == len({spot.budget for spot in shown.spots})
