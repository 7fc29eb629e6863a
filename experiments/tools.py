"""How much does a calculator help a model? Arithmetic with calls that are answered, and without.

  uv run experiments/tools.py
  uv run experiments/tools.py --digits=2 --workdir=runs/tools_2

Trains the config's decoder twice with equal FLOPs: on problems whose answers are calls, and on problems with the bare
result. Both solve held-out problems. The first model does so twice: with the calculator, whose result is inserted into
the text, and without it.
Writes tools.json with every text into the work folder.
"""

from absl import flags

from gen.cli import environment, launch, shared_flags, terminal
from gen.config import Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities

WORKDIR = shared_flags.define_workdir("Folder of the results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
DIGITS = quantities.DEFINE_integer("digits", 3, "Digits of each number.", lower_bound=1, upper_bound=9)
OPERATORS = flags.DEFINE_string("operators", "+-*", "Operators of the problems.")
QUESTIONS = quantities.DEFINE_integer("questions", 300, "Held-out problems.", lower_bound=2)


def main(run: Run) -> int:
  """Trains both models, evaluates them and reports."""
  validation.check_run(run)
  validation.require_one_device(run)
  if run.model.family != "decoder" or not run.steps:
    raise UserError("the config must have model.family decoder, and steps above 0")
  from gen import versions
  from gen.data import cache
  from gen.evaluation.synthetic import arithmetic_study
  from gen.evaluation.synthetic.arithmetic import Arithmetic
  from gen.io import json_report

  calls = Arithmetic(DIGITS.value, True, OPERATORS.value)
  plain = Arithmetic(DIGITS.value, False, OPERATORS.value)
  problems = calls.held_out(QUESTIONS.value, run.seed)
  workdir = shared_flags.result_folder(WORKDIR.value, f"runs/{run.name}")
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  report = terminal.print_progress
  caller, flops = arithmetic_study.train_solver(run, calls, run.steps, report)
  steps = max(1, round(flops / arithmetic_study.step_flops(run, plain)))
  without, without_flops = arithmetic_study.train_solver(run, plain, steps, report)
  solve = arithmetic_study.solve_problems
  rows = [
    solve("calls, with the calculator", caller, calls, problems, True, flops),
    solve("calls, without calculator", caller, calls, problems, False, flops),
    solve("trained without calls", without, plain, problems, False, without_flops),
  ]
  file = workdir / "tools.json"
  print("\n".join([*arithmetic_study.report_lines(rows), str(file)]))
  results = {"rows": rows, "versions": versions.installed_versions()}
  json_report.write_results(results, file, json_report.report_target(JSON.value))
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/tools.py")
