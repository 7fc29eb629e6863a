"""Flags of the question which bits a memory budget should buy, and its answer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.errors import UserError
from gen.io import quantities
from gen.scaling.planning import law_flags

if TYPE_CHECKING:
  from gen.scaling.planning.law_source import LawSource

# The published law, which a checkout has and an installed package has not.
PUBLISHED = Path(__file__).parents[3] / "results" / "precision" / "law.json"

# Flags of experiments/plan.py that the plan of a memory budget does not read.
OTHER_QUESTIONS = (
  "params",
  "model",
  "vocab",
  "family",
  "inference_tokens",
  "unique_tokens",
  "overtrain",
  "next",
  "max_run_flops",
)

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.


def define_flags() -> None:
  """Defines the flags of the question."""
  quantities.DEFINE_float(
    "memory",
    None,
    "Bytes of weights, as 100MB or 2GiB: which bits should they have?",
    lower_bound=1,
    in_bytes=True,
  )
  quantities.DEFINE_floats("bits", [4.0, 8.0], "With --memory: numbers of bits to compare.", 1)
  flags.DEFINE_string(
    "precision_law",
    "",
    "With --memory: results.json of experiments/precision_law.py; empty: the published one.",
  )


def is_asked() -> bool:
  """Returns whether the command line has a memory budget, or a law that only such a budget reads.

  Raises:
    UserError: for --bits without a budget.
  """
  if flags.FLAGS.memory is None:
    _refuse_present(("bits",), "read with --memory=100MB alone")
  return flags.FLAGS.memory is not None or bool(flags.FLAGS.precision_law)


def _refuse_present(names: Sequence[str], why: str) -> None:
  for name in names:
    if flags.FLAGS[name].present:
      raise UserError(f"--{name} is {why}; leave it out, or ask separately")


def print_choices(law: "LawSource", flops: float | None, target: Path | None) -> int:
  """Prints or writes the plan of a memory budget; returns the exit code.

  Args:
    law: of the loss.
    flops: the budget of each model; None takes --tokens.
    target: of `--json`.

  Raises:
    UserError: for a flag that is missing, or a question that the laws do not answer.
  """
  values = flags.FLAGS
  _refuse_present(OTHER_QUESTIONS, "of another question than --memory")
  if values.memory is None:
    raise UserError(
      "--precision_law says what fewer bits cost in a memory budget; give the budget as --memory=100MB"
    )
  path = values.precision_law or PUBLISHED
  if not values.precision_law and not PUBLISHED.is_file():
    raise UserError("--memory needs --precision_law=FILE, the results.json of experiments/precision_law.py")
  from gen.io import json_report
  from gen.scaling.planning import memory_plan

  tokens = law_flags.count_from_flag("tokens", law)
  made = memory_plan.choose_bits(law, path, values.memory, values.bits, tokens=tokens, flops=flops)
  if not values.precision_law:
    json_report.print_note(
      "what rounding adds is by the published law, results/precision/law.json", flags.FLAGS.json
    )
  if target != json_report.STANDARD_OUTPUT:
    print("\n".join(memory_plan.memory_lines(made)))
  json_report.write_report(made, target)
  return 0
