"""Which model should I train on how many tokens? A plan from a budget, a size, data or a model by name.

  uv run experiments/plan.py --budget="64 h100 for 3 days at 40 %" --price_per_hour=2.5
  uv run experiments/plan.py --params=70B                           # how many tokens?
  uv run experiments/plan.py --tokens=300B                          # how large a model?
  uv run experiments/plan.py --params=7B --tokens=1T                # how far from the optimum, and what does it cost?
  uv run experiments/plan.py --model=llama-3-8b
  uv run experiments/plan.py --pf_days=100 --law=hoffmann2022 --inference_tokens=2e12 --overtrain=2,4
  uv run experiments/plan.py --flops=1e15 --law=runs/chinchilla/results.json --next=6 --json=plan.json
  uv run experiments/plan.py --memory=100MB --bits=4,8 --tokens=2B

A budget is one of --flops, --pf_days, --hours of --count --gpu, --machine_minutes, or --budget in words:
'3640 PF-days', '64 x 2 h of h100', '8 h100 for 3 days', '24 GPU-days of h100', '$10k at $2/h'.
--law is a published law's name, or a file whose content decides what it is: a table of runs (packed or not), a
journal.jsonl, a results.json, or the constants of a law as JSON. Says which column it took for what.
"""

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities
from gen.scaling.planning import budget_flags, law_flags, memory_flags

law_flags.define_flags()
budget_flags.define_flags()
memory_flags.define_flags()
PARAMS = quantities.DEFINE_float("params", None, "N of a model: 70B, 70e9.", lower_bound=0)
TOKENS = quantities.DEFINE_float("tokens", None, "D: 300B, 1.4T.", lower_bound=0)
MODEL = flags.DEFINE_string(
  "model",
  None,
  "A published model or a preset, for its parameters and tokens: gpt-3, llama-3-8b; 'list' lists them.",
)
VOCAB = quantities.DEFINE_integer(
  "vocab", None, "Vocabulary of the model's shape; by default the study's or the family's.", 1, 2**31 - 1
)
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
  "overtrain", [], "Cost of models that are this many times smaller than the optimum.", 0, may_be_empty=True
)
NEXT = quantities.DEFINE_integer(
  "next", 0, "Number of runs to add to the study of --law, chosen to narrow N* most per FLOP.", 0, 10_000
)
MAX_FLOPS = quantities.DEFINE_float(
  "max_run_flops",
  None,
  "Maximum FLOPs of one run of --next; by default those of the study's largest run.",
  lower_bound=0,
)
JSON = outputs.DEFINE_json()


def main() -> int:
  """Reads the question and the law, plans, and prints or writes the plan."""
  from gen.io import json_report
  from gen.scaling.planning import plan, plan_summary, published_lists

  listed = ("list", "help")
  if flags.FLAGS.law in listed or MODEL.value in listed:
    print_list = published_lists.print_laws if flags.FLAGS.law in listed else published_lists.print_models
    json_report.write_report(print_list(), json_report.report_target(JSON.value))
    return 0
  target = json_report.report_target(JSON.value)
  amounts = budget_flags.amounts_from_flags(
    optional=memory_flags.is_asked() or any(flag.value is not None for flag in (PARAMS, TOKENS, MODEL))
  )
  budget, devices = budget_flags.resolve_flags(amounts)
  for factor in OVERTRAIN.value:
    if factor <= 0:
      raise UserError(
        f"--overtrain={factor:g}: give a factor above zero, how many times smaller the model is than the optimum"
      )
  law = law_flags.law_from_flags()
  if memory_flags.is_asked():
    return memory_flags.print_choices(law, budget.flops if amounts else None, target)
  report = plan.make_plan(
    law,
    budget.flops if amounts else None,
    params=law_flags.count_from_flag("params", law),
    tokens=law_flags.count_from_flag("tokens", law),
    model=MODEL.value,
    **devices,
    family=FAMILY.value,
    vocab=VOCAB.value,
    inference_tokens=law_flags.count_from_flag("inference_tokens", law),
    unique_tokens=law_flags.count_from_flag("unique_tokens", law),
    overtrain=OVERTRAIN.value,
    add=NEXT.value,
    max_run_flops=MAX_FLOPS.value,
  )
  for text in law.columns:
    json_report.print_note(f"{flags.FLAGS.law}: {text}", JSON.value)
  print("\n".join(plan_summary.plan_lines(report)))
  json_report.write_report(report, target)
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
