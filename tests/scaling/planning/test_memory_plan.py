"""A memory budget buys bits: the plan adds both laws, says what it extrapolates, and refuses what it cannot answer."""

import dataclasses
import json
import math

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.planning import law_source, memory_plan
from gen.scaling.precision.precision_law import PrecisionLaw, RoundedLoss

LOSS = ParametricLaw(E=1.5, A=20.0, B=80.0, alpha=0.3, beta=0.3)


def file_of(tmp_path, law, noise=0.05):
  """Writes measurements of a study whose sizes hold those of the questions."""
  random = np.random.default_rng(1)
  rows = []
  for N in (1e5, 1e6, 1e7):
    for ratio in (5, 20, 200):
      for bits in (3, 4, 8):
        added = law.added_loss(N, N * ratio, bits) * math.exp(noise * random.normal())
        rows.append(RoundedLoss(f"{N:g}-{ratio}", N, N * ratio, bits, 3.0, added, 0.9 * added, 1.1 * added))
  path = tmp_path / "results.json"
  path.write_text(json.dumps({"measurements": [dataclasses.asdict(row) for row in rows]}))
  return path


def test_the_better_choice_is_the_least_sum_of_both_laws(tmp_path):
  known = law_source.make_source(LOSS)
  cheap, dear = PrecisionLaw(0.05, 0.2, 0.2, 1.5), PrecisionLaw(40.0, 0.2, 0.2, 1.5)
  for law, best in ((cheap, 4), (dear, 8)):
    path = file_of(tmp_path, law)
    plan = memory_plan.choose_bits(known, path, 1e6, (4, 8, 4), tokens=2e7)
    assert len(plan.choices) == 2  # a number that is given twice is one choice
    assert plan.choices[0].bits == best and plan.clear
    for choice in plan.choices:
      assert 8e6 / choice.bits == choice.N and choice.D == 2e7
      float_loss = 1.5 + 20 * choice.N**-0.3 + 80 * choice.D**-0.3
      assert choice.loss == pytest.approx(float_loss + choice.added, rel=1e-9)
      assert choice.added == pytest.approx(law.added_loss(choice.N, choice.D, choice.bits), rel=0.2)
      assert choice.added_interval[0] < choice.added < choice.added_interval[1] and not choice.extrapolates
    assert f"in {best} bits" in memory_plan.memory_lines(plan)[-1]


def test_a_budget_buys_fewer_tokens_for_the_larger_model_and_what_lies_outside_is_marked(tmp_path):
  path = file_of(tmp_path, PrecisionLaw(0.05, 0.2, 0.2, 1.5))
  plan = memory_plan.choose_bits(law_source.make_source(LOSS), path, 1e6, (2, 4), flops=6 * 2e6 * 4e7)
  by_bits = {choice.bits: choice for choice in plan.choices}
  assert pytest.approx(4e7) == by_bits[4].D and pytest.approx(2e7) == by_bits[2].D
  assert by_bits[2].extrapolates and not by_bits[4].extrapolates


def test_what_cannot_be_answered_is_one_sentence(tmp_path):
  known, path = law_source.make_source(LOSS), file_of(tmp_path, PrecisionLaw(0.05, 0.2, 0.2, 1.5))
  broken = tmp_path / "broken.json"
  broken.write_text(json.dumps({"measurements": [{"run": "a", "N": 1.0}]}))
  for source, changes, sentence in (
    (path, {}, "neither is given"),
    (path, {"tokens": 1e7, "flops": 1e15}, "both are given"),
    (broken, {"tokens": 1e7}, "measurement 1 has no 'D'"),
    (tmp_path / "none.json", {"tokens": 1e7}, "none.json"),
  ):
    with pytest.raises(UserError, match=sentence) as raised:
      memory_plan.choose_bits(known, source, 1e6, (4, 8), **changes)
    assert "\n" not in str(raised.value)
