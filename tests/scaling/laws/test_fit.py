"""The door for importers: plain arrays in, a law out."""

import subprocess
import sys

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.laws import approaches, fit, fit_summary, parametric
from gen.scaling.runs import runs_table

E, A, B, ALPHA, BETA = 1.4, 150.0, 610.0, 0.30, 0.37


def arrays(count=29, noise=0.002):
  random = np.random.default_rng(6)
  params = np.exp(random.uniform(np.log(1e6), np.log(9e8), count))
  tokens = params * np.exp(random.uniform(np.log(6), np.log(90), count))
  loss = (E + A / params**ALPHA + B / tokens**BETA) * np.exp(random.normal(0, noise, count))
  return params, tokens, loss


def valleys(budgets=(1e17, 5e17, 3e18, 9e18)):
  rows = []
  for flops in budgets:
    best = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** (BETA / (ALPHA + BETA))
    for params in best * np.geomspace(0.4, 2.6, 7):
      tokens = flops / 6 / params
      rows.append((params, tokens, E + A / params**ALPHA + B / tokens**BETA, flops))
  return np.array(rows).T


def test_arrays_mappings_and_points_are_the_same_runs():
  params, tokens, loss = arrays()
  laws = [
    fit.fit_parametric(params, tokens, loss, bootstraps=0).law,
    fit.fit_parametric(params.tolist(), tokens.tolist(), loss.tolist(), bootstraps=0).law,
    fit.fit_approach({"params": params, "tokens": tokens, "loss": loss}, bootstraps=0).law,
    fit.fit_approach(fit.make_runs(params, tokens, loss), "parametric", bootstraps=0).law,
  ]
  assert laws[0] == laws[1] == laws[2] == laws[3]
  assert laws[0] == parametric.fit(runs_table.make_runs(params, tokens, loss), bootstraps=0).law


def test_every_approach_finds_the_exponent_of_the_law_behind_the_runs():
  params, tokens, loss, flops = valleys()
  wanted = BETA / (ALPHA + BETA)
  for approach, within in ((fit.fit_parametric, 1e-6), (fit.fit_isoflop, 0.01), (fit.fit_envelope, 0.1)):
    assert approach(params, tokens, loss, flops, bootstraps=0).a == pytest.approx(wanted, abs=within)


def test_options_reach_the_fit():
  runs = fit.make_runs(*arrays())
  wide = fit.fit_approach(runs, delta=0.1, tied=True, bootstraps=40, level=0.5, seed=3, interval="bca")
  direct = parametric.fit(runs, delta=0.1, tied=True, bootstraps=40, level=0.5, seed=3, method="bca")
  assert wide.intervals == direct.intervals and wide.law == direct.law and wide.delta == 0.1
  named = fit.fit_isoflop(*valleys(), method="akima", edge="keep", bootstraps=0)
  assert named.method == "akima"


def test_runs_held_out_are_not_seen():
  params, tokens, loss = arrays()
  held_out = np.arange(29) % 5 == 0
  spoilt = np.where(held_out, 9 * loss, loss)
  found = fit.fit_approach(
    {"params": params, "tokens": tokens, "loss": spoilt, "held_out": held_out}, bootstraps=0
  )
  alone = fit.fit_parametric(params[~held_out], tokens[~held_out], loss[~held_out], bootstraps=0)
  assert found.law == alone.law
  with pytest.raises(UserError, match="held out"):
    fit.fit_approach({"params": params, "tokens": tokens, "loss": loss, "held_out": held_out | True})


def test_all_of_them_at_once():
  fits = fit.fit_all(dict(zip(("params", "tokens", "loss", "flops"), valleys(), strict=True)), bootstraps=0)
  assert [name for name, _ in fits.items()] == list(approaches.NAMES) and not fits.errors


def test_an_approach_that_has_no_data_is_left_out_with_its_reason():
  runs = fit.make_runs(*arrays(13))
  fits = fit.fit_all(runs, bootstraps=0)
  assert "isoflop" in fits.errors
  assert any(text.startswith("isoflop is left out: ") for text in fits.warnings)
  assert fit_summary.summarize_fits(fits, runs)["isoflop"] == {"error": fits.errors["isoflop"]}


def test_approaches_that_disagree_say_so():
  params, tokens, loss, flops = valleys()
  # Losses of large models raised, more so at the smaller budgets: what learning rates not tuned by size do.
  middle = np.sqrt(params.min() * params.max())
  bent = loss * (1 + 0.02 * np.log(params / middle) * np.log10(2e19 / flops))
  runs = fit.make_runs(params, tokens, bent, flops)
  fits = fit.fit_all(runs, bootstraps=0)
  apart = abs(fits.isoflop.a - fits.parametric.a)
  assert any("disagree" in text for text in fits.warnings) == (apart > approaches.DISAGREEMENT)


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda p, d, l: fit.fit_approach(fit.make_runs(p, d, l), "guess"), "parametric, isoflop, envelope"),
    (lambda p, d, l: fit.fit_parametric(p, d, l, detla=1e-4), "nearest is 'delta'"),
    (lambda p, d, l: fit.fit_parametric(p, d), "give params, tokens and loss"),
    (lambda p, d, l: fit.fit_approach({"params": p, "loss": l}), "no 'tokens'"),
    (lambda p, d, l: fit.fit_parametric(p, d[:-2], l), "tokens has 27 values, params has 29"),
    (lambda p, d, l: fit.fit_parametric(p, d, np.where(p == p[4], np.nan, l)), "row 5"),
    (lambda p, d, l: fit.fit_parametric([["a"]], d, l), "must be"),
  ],
)
def test_mistakes_are_one_sentence(call, words):
  with pytest.raises(UserError, match=words):
    call(*arrays())


def test_the_summary_says_what_was_fitted_to_what():
  runs = fit.make_runs(*arrays())
  found = fit.fit_parametric(runs, bootstraps=30, level=0.9)
  summary = fit_summary.summarize_fit("parametric", found, runs)
  assert summary["n"] == 29 and summary["ci90"]["E"] == found.intervals["E"]
  worst = summary["largest_residuals"][0]
  assert worst["run"] == f"row {np.argmax(np.abs(found.residuals)) + 1}"
  assert any("90 % interval" in line for line in fit_summary.summary_lines(summary))


def test_importing_costs_neither_jax_nor_the_trainer():
  code = (
    "import sys; from gen.scaling.laws import fit; print('jax' in sys.modules, 'gen.training' in sys.modules)"
  )
  said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
  assert said.split() == ["False", "False"]


def test_intervals_are_of_one_kind_wherever_nothing_else_is_asked_for(study):
  runs = study(seeds=2, noise=0.01)
  for approach in fit.APPROACHES:
    assert fit.fit_approach(runs, approach, bootstraps=30).interval_method.startswith("percentile")
  found = fit.fit_approach(runs, bootstraps=30, interval="bca")
  assert found.interval_method.startswith("bca") and found.left_out_kp is not None
