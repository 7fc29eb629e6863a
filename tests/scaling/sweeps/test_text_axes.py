"""Sweeps over the weights of a mixture and over the unique tokens of a text."""

import dataclasses

import pytest

from gen.config import Data, Model, Sweep, config_hash, mixture
from gen.errors import UserError
from gen.scaling.sweeps import design


def study(**changes):
  base = Sweep(
    model=Model(depth=1, head_width=8),
    data=Data(mixture="manual=1,law=1", length=16, batch=2),
    budgets=(1e7,),
    widths=((8, 16),),
  )
  return dataclasses.replace(base, **changes)


def test_each_mixture_and_each_limit_is_a_run_with_its_own_name():
  sweep = study(mixtures=((1, 0), (0.25, 0.75)), unique_tokens=(5000, 10**6))
  runs = design.expand_sweep(sweep, 259)
  assert {run.name for run in runs} == {
    f"C1e7-w{width}-m{mixed}-u{limit}-s0"
    for width in (8, 16)
    for mixed in ("1_0", "0.25_0.75")
    for limit in (5000, 1000000)
  }
  assert len({config_hash(run) for run in runs}) == 8
  for run in runs:
    weights = "_".join(f"{corpus.weight:g}" for corpus in run.data.mixture)
    assert f"-m{weights}-u{run.data.unique_tokens}-" in run.name


def test_a_sweep_with_one_more_mixture_keeps_its_runs():
  small, large = (
    {config_hash(run) for run in design.expand_sweep(study(mixtures=mixtures), 259)}
    for mixtures in (((1, 0),), ((1, 0), (0, 1)))
  )
  assert small < large


def test_runs_of_other_weights_load_the_same_text():
  runs = design.expand_sweep(study(mixtures=((1, 0), (0.5, 0.5)), unique_tokens=(100, 200)), 259)
  assert len({str(mixture.same_text(run.data)) for run in runs}) == 1
  other = dataclasses.replace(runs[0].data, mixture="manual=1,other=0")
  assert mixture.same_text(other) != mixture.same_text(runs[0].data)


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"mixtures": ((1, 0, 0),)}, "3 weights for the 2 corpora of data.mixture .manual, law."),
    ({"mixtures": ((1, 0), (1.0, 0.0))}, "config.mixtures holds the weights 1_0 twice"),
    ({"mixtures": ((0, 0),)}, "data.mixture: all weights are 0"),
    ({"mixtures": ((2, -1),)}, "the weight of law is -1"),
    (
      {"mixtures": ((1, 0),), "data": Data()},
      "config.mixtures holds weights of data.mixture, which is empty",
    ),
    (
      {"mixtures": ((1, 0),), "data": Data(mixture="manual,law", mixture_temperature=2.0)},
      "leave data.mixture_temperature and data.mixture_unit out",
    ),
    ({"unique_tokens": (5, 5)}, r"config.unique_tokens holds \(5, 5\), with one limit twice"),
    ({"unique_tokens": (-5,)}, "data.unique_tokens is -5"),
  ],
  ids=str,
)
def test_a_mistake_is_one_sentence(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    design.check_sweep(study(**changes))
