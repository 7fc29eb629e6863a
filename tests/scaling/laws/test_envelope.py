"""Approach 1: the lower envelope of training curves, or of final losses."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.laws import envelope, loss_curves
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.runs import runs_table

LAW = ParametricLaw(E=0.6, A=57.0, B=228.0, alpha=0.42, beta=0.40)  # of the fixture `study`
BUDGETS = (4e11, 1e12, 2.5e12, 6e12)


def curves_of(runs, undecayed=0.0, rows=60):
  """Rows of training of runs whose loss follows the law, higher by a share until their end."""
  made = []
  for index in range(len(runs)):
    for part in np.geomspace(0.01, 1, rows):
      loss = float(LAW.loss(runs.params[index], runs.tokens[index] * part)) * (1 + undecayed * (1 - part))
      made.append(
        {
          "kind": "train",
          "run": f"r{index}",
          "step": int(1e6 * part),
          "flops": runs.flops[index] * part,
          "loss": loss,
        }
      )
  return made


def names_of(runs):
  return [f"r{index}" for index in range(len(runs))]


def test_many_sizes_and_curves_without_noise_give_the_exponent_of_their_law(study):
  runs = study(sizes=41)
  found = envelope.fit(runs, curves_of(runs), runs=names_of(runs), bootstraps=0)
  assert found.a == pytest.approx(LAW.a, abs=2e-3)
  assert found.b == pytest.approx(LAW.b, abs=2e-3)
  assert found.a + found.b == pytest.approx(1)
  assert found.form == "curves" and len(found.flops) == loss_curves.PLACES


def test_the_envelope_is_the_least_curve_at_each_place(study):
  runs = study(sizes=7)
  found = envelope.fit(runs, curves_of(runs, rows=400), runs=names_of(runs), bootstraps=0)
  for place in range(0, len(found.flops), 97):
    flops = found.flops[place]
    alive = np.flatnonzero(runs.flops >= flops)
    losses = [float(LAW.loss(runs.params[i], runs.tokens[i] * flops / runs.flops[i])) for i in alive]
    assert found.loss[place] == pytest.approx(min(losses), rel=1e-4)
    assert found.params[place] == pytest.approx(runs.params[alive[np.argmin(losses)]])
    assert found.tokens[place] == pytest.approx(flops / 6 / found.params[place])


def test_undecayed_losses_above_one_that_was_reached_with_less_are_not_read(study):
  runs = study(sizes=21)
  decayed = envelope.fit(runs, curves_of(runs), runs=names_of(runs), bootstraps=0)
  late = envelope.fit(runs, curves_of(runs, undecayed=0.08), runs=names_of(runs), bootstraps=0)
  assert len(late.flops) < 0.95 * len(decayed.flops)
  assert (np.diff(late.loss) <= 0).all()
  assert late.a == pytest.approx(LAW.a, abs=0.01)
  assert any("inflates a" in said for said in late.warnings)


def test_how_much_higher_an_undecayed_loss_is_gets_measured_where_sizes_repeat(study):
  first = study(sizes=9, budgets=BUDGETS[:1])
  repeated = study(sizes=9, budgets=(*BUDGETS[:1], *BUDGETS[:1]))
  repeated.tokens[9:] *= 4
  repeated.flops[9:] *= 4
  repeated.budget[9:] *= 4
  repeated.loss[9:] = LAW.loss(repeated.params[9:], repeated.tokens[9:])
  assert len(first) == 9
  curves = curves_of(repeated, undecayed=0.08)
  found = envelope.fit(repeated, curves, runs=names_of(repeated), read="curves", bootstraps=0)
  # A quarter of the way, the longer run is 0.08 x 3/4 = 6 % higher.
  assert any("(here by 6.0 % on average)" in said for said in found.warnings)


def ladder(sizes=25, budgets=BUDGETS, noise=0.0):
  """Runs of the law at C = 6 N D: the same sizes at every budget."""
  n = np.tile(np.geomspace(4e3, 1.2e6, sizes), len(budgets))
  c = np.repeat(budgets, sizes)
  loss = LAW.loss(n, c / 6 / n) + np.random.default_rng(0).normal(0, noise, len(n))
  return runs_table.make_runs(n, c / 6 / n, loss, c, budget=c)


def test_sizes_at_several_budgets_are_read_at_their_ends_whatever_their_curves_say():
  runs = ladder()
  found = envelope.fit(runs, curves_of(runs, undecayed=0.3), runs=names_of(runs), bootstraps=0)
  assert found.form == "decayed" and len(found.flops) == loss_curves.PLACES
  assert found.a == pytest.approx(LAW.a, abs=0.01)
  assert found.a + found.b == pytest.approx(1)
  curves_apart = envelope.fit(runs, curves_of(runs, undecayed=3.0), runs=names_of(runs), bootstraps=0)
  assert (curves_apart.a, curves_apart.b) == (found.a, found.b)


def test_between_budgets_log_loss_is_linear_in_log_compute():
  runs = ladder(sizes=6, noise=0.01)
  reading = loss_curves.readings_across_budgets(runs)
  losses_ks = reading.losses(np.ones(len(runs)))
  log_c = np.log(reading.flops)
  for k, size in enumerate(np.unique(runs.params)):
    own = runs.params == size
    wanted = np.exp(np.interp(log_c, np.log(runs.flops[own]), np.log(runs.loss[own])))
    assert losses_ks[k] == pytest.approx(wanted, rel=1e-9)
  assert np.exp(reading.log_tokens_ks) == pytest.approx(reading.flops / 6 / np.unique(runs.params)[:, None])


def test_a_size_is_read_only_between_the_budgets_that_it_was_trained_to():
  runs = ladder(sizes=7)
  sizes = np.unique(runs.params)
  runs = runs.select((runs.params != sizes[2]) | (runs.budget < 2e12))
  reading = loss_curves.readings_across_budgets(runs)
  losses_ks = reading.losses(np.ones(len(runs)))
  assert np.array_equal(np.isfinite(losses_ks[2]), reading.flops <= 1e12 * (1 + 1e-6))
  assert np.isfinite(losses_ks[3]).all()
  gone = np.where((runs.params == sizes[3]) & (runs.budget == 1e12), 0.0, 1.0)
  assert not np.isfinite(reading.losses(gone)[3]).all(), "a knot that a resample does not draw has no loss"


def test_few_repeated_sizes_give_no_decayed_curves():
  assert loss_curves.readings_across_budgets(ladder(sizes=loss_curves.MIN_SIZES - 1)) is None
  with pytest.raises(UserError, match="two budgets"):
    envelope.fit(ladder(sizes=3), read="decayed", bootstraps=0)
  with pytest.raises(UserError, match="'all'"):
    envelope.fit(ladder(), read="all", bootstraps=0)


def test_without_curves_the_envelope_is_of_final_losses_and_says_so(study):
  runs = study(sizes=5)
  found = envelope.fit(runs, bootstraps=0)
  assert found.form == "ends" and found.flops == pytest.approx(BUDGETS)
  assert any("no training curves" in said for said in found.warnings)
  assert found.a == pytest.approx(LAW.a, abs=1e-9)  # The middle size of each budget is its optimum.


def test_seeds_are_averaged_before_the_least_is_taken(study):
  runs = study(sizes=5, seeds=2)
  lucky = runs.loss.copy()
  second = runs.seed == 1
  lucky[2] -= 0.5  # One seed of the second size is far too good, the other as bad.
  lucky[3] += 0.5
  assert second[3]
  object.__setattr__(runs, "loss", lucky)
  assert envelope.fit(runs, bootstraps=0).a == pytest.approx(LAW.a, abs=1e-9)


def test_places_where_the_best_size_is_the_smallest_or_largest_are_not_read(study):
  runs = study(sizes=5, span=1.5)
  # Losses that only fall with size: the best is always the largest.
  object.__setattr__(runs, "loss", 3 - 0.1 * np.log(runs.params))
  with pytest.raises(UserError, match="fewer than two sizes"):
    envelope.fit(runs, bootstraps=0)


def test_intervals_hold_the_estimate_and_come_from_the_runs_of_each_budget(study):
  runs = study(sizes=9, noise=0.01)
  found = envelope.fit(runs, bootstraps=200, level=0.9)
  low, high = found.intervals["a"]
  assert low <= found.a <= high and found.draws_b4.shape == (200, 4)
  counts_bn = envelope._counts(runs.groups(), 50, 0)
  for budget in BUDGETS:
    assert (counts_bn[:, runs.budget == budget].sum(1) == 9).all()
  guess = found.predict(6e13)
  for name, (lower, upper) in guess.intervals.items():
    assert lower <= getattr(guess, name) <= upper


def test_runs_without_a_curve_are_left_out_and_counted(study):
  runs = study(sizes=9)
  rows = [row for row in curves_of(runs) if row["run"] != "r4"]
  found = envelope.fit(runs, rows, runs=names_of(runs), bootstraps=0)
  assert found.form == "curves"
  assert any("1 of 36 runs have no curve" in said for said in found.warnings)


def test_rows_that_are_no_losses_are_passed_over(study):
  runs = study(sizes=9)
  rows = curves_of(runs)
  clean = envelope.fit(runs, rows, runs=names_of(runs), bootstraps=0)
  noise = [
    {"kind": "evaluation", "run": "r3", "flops": 1e11, "loss": 0.1},
    {"kind": "train", "run": "stranger", "flops": 1e11, "loss": 0.1},
    {"kind": "train", "run": "r3", "flops": 1e11, "loss": None},
    {"kind": "train", "run": "r3", "flops": 1e11, "loss": float("nan")},
    {"kind": "train", "run": "r3"},
  ]
  dirty = envelope.fit(runs, [*noise, *rows], runs=names_of(runs), bootstraps=0)
  assert dirty.a == clean.a


def test_of_a_very_large_study_the_sizes_that_matter_stand_for_all(study, monkeypatch):
  runs = study(sizes=25, seeds=3, noise=0.01)
  whole = envelope.fit(runs, bootstraps=0)
  monkeypatch.setattr(envelope, "_MANY", 40)
  assert len(envelope._few(runs)) <= 4 * 12
  few = envelope.fit(runs, bootstraps=50)
  assert few.a == pytest.approx(whole.a, abs=1e-12) and few.loss == pytest.approx(whole.loss)


def test_smoothing_keeps_a_line_and_halves_noise():
  log_c = np.log(np.linspace(0.01, 1, 200))
  assert loss_curves._smooth(log_c, 3 - 0.4 * log_c) == pytest.approx(3 - 0.4 * log_c, abs=1e-9)
  noise = np.random.default_rng(0).standard_normal(200)
  assert loss_curves._smooth(log_c, noise)[100:].std() < 0.5


def test_runs_that_share_no_budget_are_resampled_from_one_pool():
  n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 3e8, 6), np.geomspace(1e8, 3e10, 5)))
  alone = runs_table.make_runs(n, d, LAW.loss(n, d) + np.random.default_rng(1).normal(0, 0.01, len(n)))
  assert np.bincount(alone.groups()).max() < 4
  found = envelope.fit(alone, bootstraps=300)
  low, high = found.intervals["a"]
  assert high - low > 0.02, "the choice of runs is uncertain, and the interval says so"
  assert low <= found.a <= high and "all runs" in found.interval_method
