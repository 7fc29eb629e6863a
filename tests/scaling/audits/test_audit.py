"""Audits: broken studies are flagged with the right reason, sound ones are left in peace."""

import dataclasses
import math

import numpy as np
import pytest

from gen.errors import UserError
from gen.scaling.audits import audit
from gen.scaling.laws import fit
from gen.scaling.laws.loss_law.law import ParametricLaw
from gen.scaling.laws.solvers import multistart

WHOLE_GRID = multistart.start_grid


@pytest.fixture(autouse=True)
def fewer_starts(monkeypatch):
  """The fits are not what is tested here: every thirtieth start of the paper's grid is enough."""
  monkeypatch.setattr(multistart, "start_grid", lambda *words: WHOLE_GRID(*words)[::30])


def law_of(random):
  """A law like those of text: its E, exponents, and tokens a parameter at 1e21 FLOPs."""
  alpha, beta, ratio = random.uniform(0.3, 0.4), random.uniform(0.28, 0.38), random.uniform(8, 60)
  n = math.sqrt(1e21 / 6 / ratio)
  a = random.uniform(0.25, 0.45) * n**alpha  # A / N^alpha there
  b = alpha * a * n**-alpha / beta * (ratio * n) ** beta
  return ParametricLaw(E=random.uniform(1.6, 1.9), A=a, B=b, alpha=alpha, beta=beta)


def study(
  number=0, *, noise=None, budgets=5, sizes=7, span=4.0, centre=None, bend=None, start=1e18, tails="normal"
):
  """Returns runs of an IsoFLOP study, sound unless something says otherwise.

  Args:
    centre: number of the budget -> factor on the sizes.
    bend: (N over N*, C over the smallest) -> factor on the loss.
  """
  random = np.random.default_rng(number)
  law = law_of(random)
  noise = random.uniform(0.0005, 0.003) if noise is None else noise
  rows = []
  for i, flops in enumerate(start * 3.0 ** np.arange(budgets)):
    best = float(law.optimum(flops)[0]) * (centre(i) if centre else 1.0)
    for n in best * np.geomspace(1 / span, span, sizes):
      draw = random.normal() if tails == "normal" else random.standard_t(5)
      times = bend(n / float(law.optimum(flops)[0]), flops / start) if bend else 1.0
      rows.append((n, flops / 6 / n, law.loss(n, flops / 6 / n) * times * math.exp(noise * draw), flops))
  params, tokens, loss, flops = np.array(rows).T
  return fit.make_runs(params, tokens, loss, flops)


def change(runs, which, **factors):
  """Returns runs of which some have values multiplied."""
  index = np.zeros(len(runs), bool)
  index[which] = True
  more = {
    name: np.where(index, getattr(runs, name) * factor, getattr(runs, name))
    for name, factor in factors.items()
  }
  return dataclasses.replace(runs, **more)


def one_ratio():
  runs = study(3)
  return dataclasses.replace(runs, tokens=20 * runs.params, flops=120 * runs.params**2)


def nearly_one_ratio():
  runs = study(4, noise=0.001)
  law, random = law_of(np.random.default_rng(4)), np.random.default_rng(9)
  tokens = 20 * runs.params * np.exp(random.normal(0, 0.05, len(runs)))
  loss = law.loss(runs.params, tokens) * np.exp(random.normal(0, 0.001, len(runs)))
  return fit.make_runs(runs.params, tokens, loss)


def one_budget():
  runs = study(5, sizes=15)
  return runs.select(runs.groups() == 2)


def with_repeated_rows():
  runs = study(6)
  return runs.select(np.r_[np.arange(len(runs)), :10])


def attention_heavy():
  runs = study(7, start=3e13, noise=0.0005)
  return dataclasses.replace(runs, flops=runs.flops * (1 + 2e6 / runs.params), budget=runs.flops)


def worn_out():
  """Losses of runs that read a small corpus again and again: those of the largest budget stay behind."""
  return study(8, bend=lambda size, c: 1 + 0.05 * max(0.0, math.log(c / 20)), noise=0.001)


BROKEN = {  # what is wrong: (the study, findings of which one must be among the alarms)
  "all runs at one D/N": (one_ratio, {"refused: .*one line D = 20 N"}),
  "nearly one D/N": (nearly_one_ratio, {"identifiability"}),
  "one budget": (one_budget, {"identifiability"}),
  "four runs": (lambda: study().select([0, 5, 9, 13]), {"refused: .*5 constants"}),
  "seven runs": (lambda: study().select([0, 3, 5, 9, 13, 22, 30]), {"identifiability"}),
  "sizes too small": (lambda: study(10, centre=lambda i: 0.1, noise=0.001), {"edge_minima"}),
  "sizes too large": (lambda: study(11, centre=lambda i: 12.0, noise=0.001), {"edge_minima"}),
  "minima off the centre": (lambda: study(12, centre=lambda i: 0.34, noise=0.0005), {"off_centre"}),
  "centre drifts": (lambda: study(13, centre=lambda i: 0.35 * 1.7**i, noise=0.0005), {"off_centre"}),
  "narrow sizes": (lambda: study(14, span=1.5, noise=0.002), {"size_span", "valley_shape"}),
  "a run diverged": (lambda: change(study(15), [17], loss=1.4), {"outliers"}),
  "a seed was lucky": (lambda: change(study(16, noise=0.001), [9], loss=0.97), {"outliers"}),
  "one budget was trained otherwise": (
    lambda: change(study(17, noise=0.001), range(14, 21), loss=1.02), {"residual_structure", "outliers"},
  ),
  "large models stay on a plateau": (
    lambda: study(18, bend=lambda size, c: 1 + 0.06 * max(0.0, math.log(size)) ** 2, noise=0.001),
    {"asymmetry", "residual_structure"},
  ),
  "learning rates not tuned by size": (
    lambda: study(19, bend=lambda size, c: 1 + 0.03 * math.log(size) * math.log(c / 9), noise=0.002),
    {"agreement", "residual_structure", "off_centre", "edge_minima"},
  ),
  "data repeated at the top": (worn_out, {"extrapolation", "residual_structure", "outliers"}),
  "noise drowns the valleys": (lambda: study(20, noise=0.04), {"precision", "valley_shape", "edge_minima"}),
  "some losses in bits": (lambda: change(study(21), [2, 9, 16, 23], loss=1 / math.log(2)), {"bits_or_nats"}),
  "half of the losses in bits": (lambda: change(study(22), range(17), loss=1 / math.log(2)), {"bits_or_nats"}),
  "all losses in bits": (lambda: change(study(23), range(35), loss=1 / math.log(2)), {"bits_or_nats"}),
  "perplexities": (
    lambda: dataclasses.replace(study(24), loss=np.exp(study(24).loss)), {"units_of_loss"},
  ),
  "tokens in millions": (lambda: change(study(25), range(35), tokens=1e-6), {"units_of_counts"}),
  "some tokens in thousands": (lambda: change(study(26), [3, 8], tokens=1e-3), {"units_of_counts"}),
  "parameters in millions, without flops": (
    lambda: fit.make_runs(study(27).params / 1e6, study(27).tokens, study(27).loss), {"units_of_counts"},
  ),
  "rows twice": (with_repeated_rows, {"duplicates"}),
  "attention counted or not": (attention_heavy, {"conventions"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_study_is_flagged_with_the_right_reason(name):
  make, reasons = BROKEN[name]
  refusal = next((words.removeprefix("refused: ") for words in reasons if words.startswith("refused")), None)
  if refusal:
    with pytest.raises(UserError, match=refusal):
      audit.audit_runs(make(), bootstraps=60)
    return
  found = audit.audit_runs(make(), bootstraps=60)
  named = {one.name for one in found.alarms}
  assert named & reasons, f"alarms {named}"
  assert found.grade != "A" and all(one.sentence for one in found.findings)


SOUND = [
  *({"number": 100 + i} for i in range(8)),
  *({"number": 200 + i, "sizes": 5, "budgets": 4} for i in range(3)),
  *({"number": 300 + i, "noise": 0.005, "sizes": 9} for i in range(3)),
  *({"number": 400 + i, "tails": "t5"} for i in range(3)),
  {"number": 500, "noise": 0.0},
  {"number": 501, "start": 1e15},
  {"number": 502, "budgets": 9, "sizes": 9, "span": 6.0},
]


@pytest.mark.parametrize("words", SOUND, ids=str)
def test_a_sound_study_raises_no_alarm(words):
  found = audit.audit_runs(study(**words), bootstraps=60)
  assert [one.sentence for one in found.alarms] == [] and found.grade == "A"


@pytest.mark.parametrize("number", [700, 701, 702])
def test_runs_that_were_not_made_in_budgets_have_no_valleys_to_judge(number):
  random = np.random.default_rng(number)
  law, params = law_of(random), np.exp(random.uniform(np.log(1e7), np.log(3e9), 60))
  tokens = params * np.exp(random.uniform(np.log(3), np.log(200), 60))
  loss = law.loss(params, tokens) * np.exp(random.normal(0, 0.002, 60))
  found = audit.audit_runs(fit.make_runs(params, tokens, loss), bootstraps=60)
  assert [one.sentence for one in found.alarms] == []
  assert {one.name for one in found.findings if one.status == "skip"} >= {"edge_minima", "agreement"}


def test_other_counts_of_parameters_that_change_the_answer_are_named():
  runs = study(30, start=1e15, noise=0.0005)
  alike = audit.audit_runs(runs, other_params={"params_total": 1.1 * runs.params}, bootstraps=60)
  assert "conventions" not in {one.name for one in alike.alarms}
  other = audit.audit_runs(runs, other_params={"params_total": runs.params + 3e7}, bootstraps=60)
  (finding,) = (one for one in other.findings if one.name == "conventions")
  assert finding.status == "alarm" and "params_total" in finding.sentence


def test_an_audit_is_text_and_plain_values():
  found = audit.audit_runs(study(31), bootstraps=60)
  values = found.as_dict()
  assert values["grade"] == "A" and values["alarms"] == [] and values["runs"] == 35
  text = "\n".join(audit.audit_lines(found))
  assert all(one["name"] in text for one in values["findings"]) and text.startswith("grade A: 0 alarms")


def test_runs_held_out_are_not_looked_at():
  runs = study(32)
  spoilt = dataclasses.replace(change(runs, [0, 8], loss=3.0), held_out=np.isin(np.arange(35), [0, 8]))
  assert audit.audit_runs(spoilt, bootstraps=60).runs == 33


def test_mistakes_are_one_sentence():
  with pytest.raises(UserError, match="bootstraps is 5"):
    audit.audit_runs(study(33), bootstraps=5)
  with pytest.raises(UserError, match="params_total must have a number"):
    audit.audit_runs(study(33), other_params={"params_total": [1.0]}, bootstraps=60)
