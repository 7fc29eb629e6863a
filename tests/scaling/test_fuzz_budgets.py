"""Whatever is asked of a plan, it answers with finite numbers, or one sentence says why not."""

import json
import math

import pytest

from gen.errors import UserError
from gen.io import strict_json, typed_json
from gen.scaling.planning import budget_words, budgets, plan, plan_summary, published, published_models

NUMBERS = (
  "1",
  "64",
  "0",
  "-3",
  "1e400",
  "1e-400",
  "nan",
  "inf",
  "9" * 5000,
  "1,5",
  "1_000",
  "3.5",
  "½",
  "٣",
  "1e30",
  "10^30",
)
UNITS = (
  "h",
  "hours",
  "days",
  "GPU-days",
  "PF-days",
  "FLOPs",
  "ZFLOPs",
  "k",
  "M",
  "$",
  "€",
  "%",
  "min",
  "years",
  "x",
  "×10²³",
)
WORDS = (
  "h100",
  "a100",
  "tpu v4",
  "of",
  "for",
  "on",
  "at",
  "per",
  "this machine",
  "b300",
  "@",
  "/h",
  "/gpu-hour",
  "and",
  "GPU",
)
LETTERS = ("\0", "\n", "\ud800", "漢", "()", "[" * 300, "x" * 5000, "{}", "%s", "")
FLOATS = (1e-320, 1e-9, 0.5, 1.0, 20.0, 1e6, 7e9, 1e12, 6e23, 1e30, 1e300, 0.0, -1.0, math.nan, math.inf)


def words(rng):
  """Returns a budget in words, or what only looks like one."""
  parts = [
    rng.choice(rng.choice((NUMBERS, NUMBERS, UNITS, UNITS, WORDS, LETTERS))) for _ in range(rng.randint(0, 7))
  ]
  return rng.choice(("", " ")).join(parts)


def maybe(rng, values, share=0.3):
  return rng.choice(values) if rng.random() < share else None


def number(rng, least, most, share=0.3, odd=0.1):
  """Returns a plausible number, an odd one, or none."""
  likely = 10 ** rng.uniform(math.log10(least), math.log10(most))
  return maybe(rng, (rng.choice(FLOATS) if rng.random() < odd else likely,), share)


def sentence(rng):
  """Returns a budget in words that nearly always can be."""
  count, hours = rng.randint(1, 9000), rng.choice(("3 days", "2.5 h", "90 min", "a week", "2h30min"))
  device = rng.choice(tuple(budgets.PEAKS))
  forms = (
    f"{count} {device} for {hours}",
    f"{hours} on {count} {device} at {rng.randint(1, 100)} %",
    f"{count} GPU-days of {device}",
    f"{count} PF-days",
    f"${count} at $2/h on {device}",
    f"{count} ZFLOPs",
  )
  return rng.choice(forms)


def planned(rng):
  """Returns the lines and the JSON of a random question, as `experiments/plan.py` writes them."""
  text, flops = rng.choice((words, sentence, sentence))(rng), number(rng, 1e8, 1e28, 1.0)
  given = (
    budget_words.read_amounts(text, budgets.PEAKS)
    if rng.random() < 0.5
    else budget_words.BudgetAmounts(flops=flops)
  )
  budget = budgets.resolve_budget(
    given,
    maybe(rng, (*budgets.PEAKS, "1e15", "x"), 0.2),
    number(rng, 1, 1e5, 0.1),
    number(rng, 0.05, 1.0, 0.1),
    number(rng, 0.1, 20, 0.2),
  )
  form = rng.choice(("budget", "budget", "params", "tokens", "both", "model", "any"))
  report = plan.make_plan(
    rng.choice((*published.LAWS, *published.LAWS, "nobody2030")),
    budget.flops if form == "budget" else maybe(rng, (budget.flops,), 0.2),
    params=number(rng, 1e3, 1e14, 1.0 if form in ("params", "both") else 0.05),
    tokens=number(rng, 1e5, 1e17, 1.0 if form in ("tokens", "both") else 0.05),
    model=maybe(rng, (*published_models.MODELS, "gpt2", "nothing"), 1.0 if form == "model" else 0.05),
    gpu=budget.device,
    count=budget.count,
    utilization=budget.utilization,
    price_per_hour=budget.price,
    family=rng.choice(("chinchilla",) * 9 + ("gpt2", "t5", "bert", "nothing")),
    vocab=maybe(rng, (7, 259, 50_257, 0, -1, 10**30), 0.1),
    inference_tokens=number(rng, 1e8, 1e16, 0.2),
    unique_tokens=number(rng, 1e6, 1e14, 0.2),
    overtrain=[number(rng, 1, 10, 1.0) for _ in range(rng.randrange(3))],
    add=rng.choice((0,) * 9 + (-1, 3)),
  )
  assert all(0 < getattr(report, name) < math.inf for name in ("N", "D", "flops"))
  json.loads(
    strict_json.encode_json(typed_json.encode_record(report)),
    parse_constant=lambda text: pytest.fail(f"{text} is no JSON"),
  )
  return plan_summary.plan_lines(report)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_question_is_planned_or_refused_in_one_sentence(fuzz):
  for rng in fuzz.rounds():
    try:
      assert all("\n" not in line for line in planned(rng))
    except UserError as error:
      assert "\n" not in str(error) and 0 < len(str(error)) < 1000


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_any_words_are_a_budget_above_zero_or_one_sentence(fuzz):
  for rng in fuzz.rounds():
    text = words(rng)
    try:
      assert math.isfinite(budgets.parse_budget(text)) and budgets.parse_budget(text) > 0, text
    except UserError as error:
      assert "\n" not in str(error) and 0 < len(str(error)) < 1000, text
