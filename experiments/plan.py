"""Which model should I train on how many tokens? A plan from a budget, a size, data or a model by name.

  uv run experiments/plan.py --budget="64 h100 for 3 days at 40 %" --price_per_hour=2.5
  uv run experiments/plan.py --params=70B                           # how many tokens?
  uv run experiments/plan.py --tokens=300B                          # how large a model?
  uv run experiments/plan.py --params=7B --tokens=1T                # how far from the optimum, and what does it cost?
  uv run experiments/plan.py --model=llama-3-8b
  uv run experiments/plan.py --pf_days=100 --law=hoffmann2022 --inference_tokens=2e12 --overtrain=2,4
  uv run experiments/plan.py --flops=1e15 --law=runs/chinchilla/results.json --next=6 --json=plan.json

A budget is one of --flops, --pf_days, --hours of --count --gpu, --machine_minutes, or --budget in words:
'3640 PF-days', '64 x 2 h of h100', '8 h100 for 3 days', '24 GPU-days of h100', '$10k at $2/h'.
--law is a published law's name, or a file whose content decides what it is: a table of runs (packed or not), a
journal.jsonl, a results.json, or the constants of a law as JSON. Says which column it took for what.
"""

from typing import TYPE_CHECKING, Any

from absl import flags

from gen.cli import launch, shared_flags, table_flags
from gen.errors import UserError
from gen.io import outputs, quantities

if TYPE_CHECKING:
  from gen.scaling.planning.budget_words import BudgetAmounts
  from gen.scaling.planning.law_source import LawSource

_LEAST_TOKENS = 1e5  # served or unique, that are believed without a unit
LAW = flags.DEFINE_string(
  "law",
  "besiroglu2024",
  "A published law, or a file of runs or constants; 'list' lists the laws.",
)
PARAMS = quantities.DEFINE_float("params", None, "N of a model: 70B, 70e9.", lower_bound=0)
TOKENS = quantities.DEFINE_float("tokens", None, "D: 300B, 1.4T.", lower_bound=0)
MODEL = flags.DEFINE_string(
  "model",
  None,
  "A published model or a preset, for its parameters and tokens: gpt-3, llama-3-8b; 'list' lists them.",
)
PARAMS_UNIT, TOKENS_UNIT = table_flags.define_units(
  "--params and of N in the file: 1e6 if they are in millions",
  "the token flags and of D in the file: 1e9 if they are in billions",
)
VOCAB = quantities.DEFINE_integer(
  "vocab",
  None,
  "Vocabulary of the model's shape; by default the study's or the family's.",
  lower_bound=1,
  upper_bound=2**31 - 1,
)
BUDGET = flags.DEFINE_string(
  "budget", None, "C in words: 5.76e23, '3640 PF-days', '8 h100 for 3 days at 40 %', '24 GPU-days of h100'."
)
FLOPS = quantities.DEFINE_float("flops", None, "C in FLOPs.", lower_bound=0)
PF_DAYS = quantities.DEFINE_float("pf_days", None, "C in PF/s-days, 8.64e19 FLOPs.", lower_bound=0)
MINUTES = quantities.DEFINE_float(
  "machine_minutes", None, "C in minutes of this machine, whose matrix products are timed.", lower_bound=0
)
HOURS = quantities.DEFINE_float(
  "hours", None, "C in hours of --count devices of the kind --gpu at --utilization.", lower_bound=0
)
GPU = flags.DEFINE_string("gpu", None, "Device by name, or its peak in FLOP/s; h100 by default.")
COUNT = quantities.DEFINE_float("count", None, "Number of devices; 1 by default.", lower_bound=0)
UTILIZATION = quantities.DEFINE_float(
  "utilization",
  None,
  "Share of the peak that training reaches; 0.4 by default.",
  lower_bound=0,
  upper_bound=1,
)
PRICE = quantities.DEFINE_float("price_per_hour", None, "Price of one device per hour.", lower_bound=0)
FAMILY = flags.DEFINE_string(
  "family", "chinchilla", "Family of presets for the model's shape: chinchilla, gpt2, t5, ..."
)
INFERENCE = quantities.DEFINE_float(
  "inference_tokens",
  None,
  "Tokens of inference; the plan then minimizes the FLOPs of training plus inference.",
  lower_bound=0,
)
UNIQUE = quantities.DEFINE_float(
  "unique_tokens", None, "Unique tokens available; more are repeats (Muennighoff et al. 2023).", lower_bound=0
)
OVERTRAIN = quantities.DEFINE_floats(
  "overtrain",
  [],
  "Cost of models that are this many times smaller than the optimum.",
  may_be_empty=True,
  lower_bound=0,
)
NEXT = quantities.DEFINE_integer(
  "next",
  0,
  "Number of runs to add to the study of --law, chosen to narrow N* most per FLOP.",
  lower_bound=0,
  upper_bound=10_000,
)
MAX_FLOPS = quantities.DEFINE_float(
  "max_run_flops",
  None,
  "Maximum FLOPs of one run of --next; by default those of the study's largest run.",
  lower_bound=0,
)
APPROACH = flags.DEFINE_enum(
  "approach", "parametric", ["parametric", "isoflop", "envelope"], "How runs are fitted."
)
COUNTING = flags.DEFINE_string(
  "params_convention", "matrices", "Convention in which N of the file is counted (docs/planning.md)."
)
BOOTSTRAPS = quantities.DEFINE_integer(
  "bootstraps",
  1000,
  "Resamples for the intervals of a fitted file of runs.",
  lower_bound=0,
  upper_bound=1_000_000,
)
SEED = shared_flags.define_seed("resampling")
LEVEL = quantities.DEFINE_float("level", 0.95, "Coverage of the intervals.", lower_bound=0, upper_bound=1)
JSON = outputs.DEFINE_json()
COLUMNS = table_flags.define_columns()


def main() -> int:
  """Reads the question and the law, plans, and prints or writes the plan."""
  if LAW.value in ("list", "help"):
    return _list_laws()
  if MODEL.value in ("list", "help"):
    return _list_models()
  from gen.io import json_report

  target = json_report.report_target(JSON.value)
  from gen.scaling.planning import budgets, plan, plan_summary
  from gen.scaling.planning.budget_words import BudgetAmounts

  amounts = _amounts()
  # Without a budget the devices alone are wanted.
  budget = budgets.resolve_budget(
    amounts or BudgetAmounts(flops=1.0), GPU.value, COUNT.value, UTILIZATION.value, PRICE.value
  )
  devices: dict[str, Any] = {}
  if budget.device_given:
    devices = {"gpu": budget.device, "count": budget.count, "utilization": budget.utilization}
    devices["price_per_hour"] = budget.price
  overtrain = _factors()
  law = _law()
  report = plan.make_plan(
    law,
    budget.flops if amounts else None,
    params=_count(PARAMS, law),
    tokens=_count(TOKENS, law),
    model=MODEL.value,
    **devices,
    family=FAMILY.value,
    vocab=VOCAB.value,
    inference_tokens=_count(INFERENCE, law),
    unique_tokens=_count(UNIQUE, law),
    overtrain=overtrain,
    add=NEXT.value,
    max_run_flops=MAX_FLOPS.value,
  )
  for text in law.columns:
    json_report.print_note(f"{LAW.value}: {text}", JSON.value)
  print("\n".join(plan_summary.plan_lines(report)))
  json_report.write_report(report, target)
  return 0


def _list_laws() -> int:
  from gen.io import json_report
  from gen.scaling.planning import published

  for name, known in published.LAWS.items():
    default = ", the default" if name == published.DEFAULT else ""
    print(f"{name:24} N* ~ C^{known.law.a:.3f}  N counts {known.counting:14} {known.source}{default}")
  json_report.write_report(
    {
      name: {"a": known.law.a, "counting": known.counting, "source": known.source}
      for name, known in published.LAWS.items()
    },
    json_report.report_target(JSON.value),
  )
  return 0


def _list_models() -> int:
  from gen import presets
  from gen.io import json_report
  from gen.scaling.planning import published_models
  from gen.scaling.runs.quantity_text import format_count

  for model in published_models.MODELS.values():
    tokens = "not published" if model.tokens is None else format_count(model.tokens)
    doubt = f" ({model.unconfirmed} not confirmed)" if model.unconfirmed else ""
    print(f"{model.name:20} N {format_count(model.params):>8}  D {tokens:>13}  {model.source}{doubt}")
  print(f"presets, without tokens: {', '.join(presets.preset_names())}")
  models = {
    model.name: {
      "N": model.params,
      "D": model.tokens,
      "source": model.source,
      "unconfirmed": model.unconfirmed,
    }
    for model in published_models.MODELS.values()
  }
  json_report.write_report(
    {"models": models, "presets": list(presets.preset_names())}, json_report.report_target(JSON.value)
  )
  return 0


def _amounts() -> "BudgetAmounts | None":
  """Returns the budget that one flag gives; None where the question is another."""
  from gen.scaling.planning import budget_words, budgets

  numbers = {
    "flops": FLOPS.value,
    "pf_days": PF_DAYS.value,
    "machine_minutes": MINUTES.value,
    "hours": HOURS.value,
  }
  named = [name for name, value in numbers.items() if value is not None]
  named += ["budget"] if BUDGET.value is not None else []
  if not named and (PARAMS.value is not None or TOKENS.value is not None or MODEL.value is not None):
    return None
  if len(named) != 1:
    which = "none is given" if not named else "given are " + ", ".join(f"--{name}" for name in named)
    raise UserError(
      "a plan needs one budget, --flops, --pf_days, --hours (with --gpu and --count), --machine_minutes or --budget, "
      f"or else --params, --tokens or --model; {which}"
    )
  if BUDGET.value is not None:
    return budget_words.read_amounts(BUDGET.value, budgets.PEAKS)
  value = budgets.require_positive(f"--{named[0]}", numbers[named[0]] or 0.0)
  if named[0] in ("flops", "pf_days"):
    return budget_words.BudgetAmounts(flops=value * (budgets.PF_DAY if named[0] == "pf_days" else 1.0))
  if named[0] == "hours":
    return budget_words.BudgetAmounts(hours=value)
  return budget_words.BudgetAmounts(hours=value / 60, device=budget_words.THIS_MACHINE)


def _count(flag: flags.FlagHolder, law: "LawSource") -> float | None:
  """Returns a count of parameters or tokens in ones; small ones are believed where the law's runs are small."""
  if flag.value is None:
    return None
  from gen.scaling.runs import units

  kind = "params" if flag.name == "params" else "tokens"
  unit = PARAMS_UNIT.value if kind == "params" else TOKENS_UNIT.value
  low, high = units.USUAL[kind]
  if flag.name not in (
    "params",
    "tokens",
  ):  # what a model is asked for, or the texts that there are, may be little
    low = _LEAST_TOKENS
  if law.runs is not None:
    low = min(low, float((law.runs.params if kind == "params" else law.runs.tokens).min()) / 100)
  return units.convert_count(kind, flag.value, unit, (low, high), flag.name)


def _law() -> "LawSource":
  from gen.scaling.planning import law_source
  from gen.scaling.runs import conventions

  if COUNTING.value not in conventions.PARAMETERS:
    raise UserError(
      f"--params_convention={COUNTING.value} is unknown; there are {', '.join(conventions.PARAMETERS)}"
    )
  return law_source.open_law(
    LAW.value, APPROACH.value, COUNTING.value,
    params_unit=PARAMS_UNIT.value, tokens_unit=TOKENS_UNIT.value, columns=table_flags.chosen_columns(COLUMNS),
    bootstraps=BOOTSTRAPS.value, seed=SEED.value, level=LEVEL.value,
  )  # fmt: skip


def _factors() -> list[float]:
  for factor in OVERTRAIN.value:
    if factor <= 0:
      raise UserError(
        f"--overtrain={factor:g}: give a factor above zero, how many times smaller the model is than the optimum"
      )
  return OVERTRAIN.value


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
