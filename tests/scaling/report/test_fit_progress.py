"""How far fits are: the solver's descents, counted, and the time left at the measured rate."""

import io

import numpy as np
import pytest

from gen.scaling.laws import parametric
from gen.scaling.laws.loss_law.law import HOFFMANN_2022
from gen.scaling.laws.solvers import descents
from gen.scaling.report.fit_progress import FitProgress
from gen.scaling.runs import runs_table

pytestmark = pytest.mark.optimized  # the solver runs for longer than it compiles


class Terminal(io.StringIO):
  """A stream that is a terminal."""

  def isatty(self):
    return True


def clocked(expected, stream, **options):
  now = [0.0]
  return FitProgress(expected, stream, clock=lambda: now[0], **options), now


def test_the_time_left_is_what_is_left_at_the_measured_rate():
  stream = io.StringIO()
  progress, now = clocked(1_100, stream)
  now[0] = 7.0  # imports and compilation are no part of the rate
  progress.advance(100)
  now[0] = 17.0
  progress.advance(200)
  assert stream.getvalue() == "300 of about 1,100 descents of the fits, 20 a second, about 40 s left\n"
  now[0] = 18.0
  progress.advance(10)
  assert stream.getvalue().count("\n") == 1  # a log has a line now and then


def test_a_terminal_has_one_line_that_is_rewritten_and_gone_at_the_end():
  stream = Terminal()
  progress, now = clocked(900, stream)
  with progress:
    for second in range(1, 4):
      now[0] = second
      progress.advance(100)
    progress.say("auditing the runs")
    now[0] = 5.0
    progress.advance(100)
  shown = stream.getvalue()
  assert "300 of about 900" in shown and "about 6 s left" in shown
  assert shown.count("\n") == 1 and "\033[Kauditing the runs\n" in shown and shown.endswith("\r\033[K")


def test_where_json_is_asked_for_nothing_is_written():
  stream = Terminal()
  progress, now = clocked(900, stream, silent=True)
  now[0] = 50.0
  progress.advance(100)
  progress.say("auditing the runs")
  assert stream.getvalue() == ""


def study(noise):
  random = np.random.default_rng(4)
  params = np.exp(random.uniform(np.log(3e7), np.log(2e9), 31))
  tokens = params * np.exp(random.uniform(np.log(4), np.log(90), 31))
  loss = HOFFMANN_2022.loss(params, tokens) * np.exp(noise * random.standard_normal(31))
  return runs_table.make_runs(params, tokens, loss)


@pytest.mark.parametrize("delta", [1e-3, 0.5])
def test_a_fit_takes_about_as_many_descents_as_were_expected(delta):
  done = []
  with descents.watch_descents(done.append):
    parametric.fit(study(0.002 + delta / 1e6), delta=delta, bootstraps=70)
  assert sum(done) == pytest.approx(descents.search_descents() + 70, rel=0.1)
  assert len(done) > 50 and min(done) > 0
  before = sum(done)
  parametric.fit(study(0.003), delta=delta, bootstraps=70)
  assert sum(done) == before  # nobody watches


def test_a_table_that_is_fitted_again_is_not_searched_again_and_gives_the_same_law():
  first = parametric.fit(study(0.004), bootstraps=0)
  first.residuals[:] = 0.0  # a caller's own copy
  done = []
  with descents.watch_descents(done.append):
    again = parametric.fit(study(0.004), bootstraps=30)
    assert sum(done) == 30
    other = parametric.fit(study(0.005), bootstraps=0)
  assert again.law == first.law and again.residuals.any() and other.law != first.law
  assert (again.starts_at_best, again.objective) == (first.starts_at_best, first.objective)
