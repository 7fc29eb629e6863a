"""Rehearsed studies: what a known law and noise must give, and what a bad design must not."""

import dataclasses
import math

import pytest

from gen import counts
from gen.config import Data, Model, Sweep
from gen.errors import UserError
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.sweeps import design
from gen.scaling.verdicts import rehearsal

pytestmark = pytest.mark.optimized  # the solver runs for longer than it compiles
LAW = ParametricLaw(E=1.05, A=66.0, B=1784.0, alpha=0.48, beta=0.58)
VOCAB = 260
DESIGN = Sweep(
  model=Model(depth=2, head_width=14),
  data=Data(tokenizer="bytes", length=128, batch=4),
  budgets=(6e11, 1.4e12, 3.2e12),
  widths=((14, 28, 42, 56, 70), (14, 28, 42, 56, 84), (28, 42, 56, 70, 98)),
  seeds=(2, 1, 1),
  held_out=1e13,
  held_out_widths=(42, 70, 98, 140),
)


def rehearsed(noise, studies=2, **changes):
  return rehearsal.rehearse_sweep(dataclasses.replace(DESIGN, **changes), VOCAB, LAW, noise, studies=studies)


def criterion(found, name):
  (one,) = [one for one in found.criteria if one.name == name]
  return one


def test_without_noise_a_sound_design_meets_every_criterion_and_finds_the_law():
  found = rehearsed(0.0)
  assert found.credible == found.studies == 2 and found.interval[1] == pytest.approx(1)
  assert found.runs == len(design.expand_sweep(DESIGN, VOCAB)) == 24
  assert found.flops == pytest.approx(10 * 6e11 + 5 * 1.4e12 + 5 * 3.2e12 + 4 * 1e13)
  assert not {one.name for one in found.criteria} & set(rehearsal.NOT_REHEARSED)
  assert criterion(found, "leave_one_budget_out").median < 0.03
  # With one k for all sizes it would be .010: a larger model takes fewer FLOPs a parameter and token.
  assert criterion(found, "held_out_loss").median < 0.003


@pytest.mark.slow
def test_noise_makes_a_design_less_credible_and_the_draws_are_the_seeds():
  noisy = rehearsed(0.05, studies=3)
  assert noisy.credible < noisy.studies
  assert criterion(noisy, "leave_one_budget_out").median > 0.05
  one, again = (rehearsed(0.05, studies=1) for _ in range(2))
  assert one == again
  other = rehearsal.rehearse_sweep(DESIGN, VOCAB, LAW, 0.05, studies=1, seed=1)
  assert criterion(other, "r_squared").median != criterion(one, "r_squared").median


def test_what_a_design_lacks_is_never_met():
  found = rehearsed(
    0.0, 1, widths=((14, 28, 42), (28, 42, 56), (28, 42, 56)), held_out=0.0, held_out_widths=()
  )
  assert not found.credible
  for name in ("held_out_loss", "held_out_size", "points_each_side"):
    assert criterion(found, name).met == 0
  assert math.isnan(criterion(found, "held_out_loss").median)


def test_runs_too_short_to_be_believed_are_left_out_of_the_fits():
  long = {"min_steps": 8000}
  found = rehearsed(0.0, 1, criteria=dataclasses.replace(DESIGN.criteria, **long))
  assert criterion(found, "min_steps").median > 0


def test_the_losses_are_of_the_counted_sizes(monkeypatch):
  seen, analyse = [], rehearsal.verdict.analyse_sweep

  def noted(rows, *rest, **options):
    seen.extend(rows)
    return analyse(rows, *rest, **options)

  monkeypatch.setattr(rehearsal.verdict, "analyse_sweep", noted)
  rehearsed(0.0, 1)
  for row, run in zip(seen, design.canonical_order(design.expand_sweep(DESIGN, VOCAB)), strict=True):
    assert row["params"] == counts.count_matrices(run.model)
    assert row["flops"] == pytest.approx(run.flops, rel=1e-3) and row["held_out"] == (run.flops == 1e13)
    assert row["loss"] == pytest.approx(LAW.E + LAW.A / row["params"] ** 0.48 + LAW.B / row["tokens"] ** 0.58)


@pytest.mark.parametrize(
  ("noise", "studies", "law", "sentence"),
  [
    (-0.1, 1, LAW, "the noise is -0.1 nats"),
    (math.nan, 1, LAW, "the noise is nan nats"),
    (0.1, 0, LAW, "0 studies cannot be drawn"),
    (0.1, 1, ParametricLaw(-9.0, 1.0, 1.0, 0.5, 0.5), "no loss; it must be above 0"),
  ],
)
def test_a_mistake_is_one_sentence(noise, studies, law, sentence):
  with pytest.raises(UserError, match=sentence):
    rehearsal.rehearse_sweep(DESIGN, VOCAB, law, noise, studies=studies)
