"""The figures of a study, whole and in pieces."""

import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib import colors
from PIL import Image

from gen.figures import style
from gen.scaling.report import curves as curves_
from gen.scaling.report import figures as report_figures
from gen.scaling.report import frontier, residuals, valleys, view

NAMES = ("loss_curves", "isoflop_valleys", "optimum", "residuals", "curve")


def drawn(draw, *arguments):
  """Draws one panel and returns its axes."""
  with style.paper_style():
    _, (axes,) = style.new_figure(4, 3)
    draw(axes, *arguments)
  return axes


def words(axes):
  return " ".join(" ".join(text.get_text().split()) for text in axes.texts)


def ink(path):
  """The share of pixels that are not paper."""
  grey = np.asarray(Image.open(path).convert("L"))
  return float((grey < 240).mean())


def test_every_figure_is_written_as_png_and_pdf_and_none_is_blank(results, curves, tmp_path):
  paths = report_figures.write_figures(results, curves, tmp_path / "new" / "folder")
  assert [path.name for path in paths] == [f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf")]
  for path in paths[::2]:
    assert 0.01 < ink(path) < 0.5
    assert Image.open(path).info["dpi"][0] == pytest.approx(200, rel=1e-3)
  for path in paths[1::2]:
    assert path.read_bytes().startswith(b"%PDF")


def test_a_study_of_two_budgets_without_held_out_runs_is_drawn(smoke):
  del smoke["laws"]["envelope"], smoke["laws"]["parametric"]
  study = view.read_results(smoke)
  assert study.held_out is None
  assert (
    len([line for line in drawn(frontier.draw_frontier, study, "N").lines if line.get_marker() == "D"]) == 2
  )
  assert "held out" not in words(drawn(valleys.draw_valleys, study))


def test_an_empty_study_says_so_in_every_panel():
  nothing = view.read_results({})
  assert "No run of this sweep has finished" in words(drawn(valleys.draw_valleys, nothing))
  assert "No approach gave a law" in words(drawn(frontier.draw_frontier, nothing, "N"))
  assert "no rows of training" in words(drawn(curves_.draw_curves, nothing, []))
  assert "there is no parametric law" in words(drawn(residuals.draw_residuals, nothing, "D"))
  assert "there is no parametric law" in words(drawn(residuals.draw_agreement, nothing))


def test_a_failed_approach_gives_its_reason_and_spoils_no_other(results):
  results["laws"]["parametric"] = {"error": "fewer runs than constants: 4 for $5"}
  study = view.read_results(results)
  assert study.absent["parametric"] == "fewer runs than constants: 4 for $5"
  assert set(study.laws) == {"envelope", "isoflop"}
  assert "fewer runs than constants" in words(drawn(residuals.draw_residuals, study, "N"))
  assert "residual" not in words(drawn(frontier.draw_frontier, study, "N"))


def test_runs_with_missing_numbers_are_left_out_of_the_drawings(results):
  whole = len(view.read_results(results).spots)
  results["points"][-1]["loss"] = None
  results["points"][-2]["params"] = float("nan")
  study = view.read_results(results)
  assert len(study.spots) == whole - 2
  drawn(valleys.draw_valleys, study)
  drawn(residuals.draw_residuals, study, "N")


def test_seeds_of_one_size_are_averaged_into_one_spot(results):
  spot = view.read_results(results).spots[0]
  losses = [results["points"][index]["loss"] for index in spot.members]
  assert len(losses) == 3
  assert spot.loss == pytest.approx(sum(losses) / 3, rel=1e-12)


def test_a_parabola_is_the_one_that_was_fitted(results):
  entry = results["laws"]["isoflop"]["valleys"][1]
  valley = view.read_results(results).valleys[1]
  params = np.array([20e3, 55e3, 200e3])
  c0, c1, c2 = entry["coefficients"]
  np.testing.assert_allclose(valley(params), c0 + c1 * np.log(params) + c2 * np.log(params) ** 2, rtol=1e-9)


def test_a_law_is_drawn_up_to_ten_times_the_largest_budget(results):
  axes = drawn(frontier.draw_frontier, view.read_results(results), "N")
  fits = set(style.APPROACHES.values())
  reached = max(line.get_xdata()[-1] for line in axes.lines if line.get_color() in fits)
  assert reached == pytest.approx(10 * 5e12)


def test_the_chinchilla_line_has_twenty_tokens_a_parameter_and_names_what_it_counts(results):
  study = view.read_results(results)
  lines = [drawn(frontier.draw_frontier, study, letter) for letter in "ND"]
  size, data = (next(line for line in axes.lines if line.get_color() == style.MUTED and len(line.get_xdata()) == 2)
                for axes in lines)  # fmt: skip
  np.testing.assert_allclose(data.get_ydata() / size.get_ydata(), 20)
  np.testing.assert_allclose(6 * data.get_ydata() * size.get_ydata(), size.get_xdata())
  assert "20 bytes per parameter (Chinchilla's 20 are tokens)" in words(lines[0])
  results["config"]["data"]["tokenizer"] = results["tokenizer"]["kind"] = "bpe"
  assert "depends on the tokenizer" in words(drawn(frontier.draw_frontier, view.read_results(results), "N"))


def test_residuals_are_measured_over_predicted_in_per_cent(results):
  study = view.read_results(results)
  run = results["points"][7]
  guess = 0.6 + 57.0 / run["params"] ** 0.42 + 228.0 / run["tokens"] ** 0.40
  mark = next(line for line in drawn(residuals.draw_residuals, study, "D").lines if line.get_gid() == "run-7")
  assert mark.get_xdata()[0] == run["tokens"]
  assert mark.get_ydata()[0] == pytest.approx(100 * math.log(run["loss"] / guess), rel=1e-9)


def test_of_a_step_that_was_logged_twice_the_last_row_counts(results):
  row = {"kind": "train", "run": results["points"][0]["run"], "step": 10, "flops": 1e11}
  other = row | {"step": 20, "flops": 2e11, "loss": 2.5}
  strange = row | {"run": "unknown", "loss": None}
  (curve,) = curves_.read_curves(
    view.read_results(results), [row | {"loss": 3.0}, other, row | {"loss": 2.9}, strange]
  )
  assert (curve.run, curve.loss.tolist()) == (0, [2.9, 2.5])


def test_a_long_journal_is_thinned_but_keeps_both_ends(results):
  rows = [{"run": "x", "step": i, "flops": 1e9 * i, "loss": 5 - 1e-4 * i} for i in range(1, 20_001)]
  (curve,) = curves_.read_curves(view.read_results(results), rows)
  assert len(curve.flops) <= 300
  assert (curve.flops[0], curve.flops[-1]) == (1e9, 2e13)


@pytest.mark.parametrize("ramp", [style.budget_ramp, style.size_ramp])
def test_ramps_are_ordered_in_lightness_on_both_grounds(ramp):
  made = ramp([3e12, 1e12, 1e13, 5e13, 2e14])
  for ordered, sign in ((list(made.light.values()), -1), (list(made.dark.values()), 1)):
    lightness = [np.dot(colors.to_rgb(colour), (0.2126, 0.7152, 0.0722)) for colour in ordered]
    assert (sign * np.diff(lightness) > 0.01).all()


def test_drawing_leaves_the_global_style_alone_and_needs_no_pyplot(results):
  before = dict(matplotlib.rcParams)
  drawn(valleys.draw_valleys, view.read_results(results))
  assert dict(matplotlib.rcParams) == before
  code = "import sys, gen.scaling.report.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ticks_are_few_round_and_within_the_axis():
  for low, high in ((1.1, 9.7), (15e3, 700e3), (1e6, 3e15), (2.1e12, 2.9e12), (3.1e5, 3.2e5)):
    ticks = style.round_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)
