"""What is a calculator worth to a model? Arithmetic with calls that are answered, and without.

  uv run experiments/tools.py
  uv run experiments/tools.py --digits=2 --workdir=runs/tools_2

Trains the config's decoder twice with equal FLOPs, on problems whose answers are calls and on problems with the bare
result, and asks both held-out problems: with the calculator, whose result is put in before the model goes on; the same
model left to write the result itself; and the one that never learnt to call.
Writes tools.json with every text into the work folder.
"""

import copy
import json
import sys
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import environment, launch
from gen.config import Run, validation
from gen.errors import UserError
from gen.io import outputs, quantities

WORKDIR = outputs.DEFINE_folder("workdir", "", "Folder of the results; empty: runs/NAME.")
JSON = outputs.DEFINE_json()
DIGITS = quantities.DEFINE_integer("digits", 3, "Digits of each number.", lower_bound=1, upper_bound=9)
OPERATORS = flags.DEFINE_string("operators", "+-*", "Of the problems.")
QUESTIONS = quantities.DEFINE_integer("questions", 300, "Held-out problems.", lower_bound=2)


def main(run: Run) -> int:
  """Trains, asks and reports."""
  validation.check_run(run)
  validation.require_one_device(run)
  if run.model.family != "decoder" or not run.steps:
    raise UserError("the config's model is to be a decoder, and its length to be given in steps")
  from gen.data import cache
  from gen.evaluation.synthetic.arithmetic import Arithmetic

  calls = Arithmetic(DIGITS.value, True, OPERATORS.value)
  plain = Arithmetic(DIGITS.value, False, OPERATORS.value)
  problems = calls.held_out(QUESTIONS.value, run.seed)
  workdir = Path(WORKDIR.value or f"runs/{run.name}")
  workdir.mkdir(parents=True, exist_ok=True)
  environment.compilation_cache(cache.cache_folder(run.data) / "compiled")
  caller, flops = _trained(run, calls, run.steps)
  other, other_flops = _trained(run, plain, max(1, round(flops / _price(run, plain))))
  rows = [
    _asked("calls, with the calculator", caller, calls, problems, True) | {"flops": flops},
    _asked("calls, left to itself", caller, calls, problems, False) | {"flops": flops},
    _asked("never learnt to call", other, plain, problems, False) | {"flops": other_flops},
  ]
  _write(workdir, rows)
  return 0


def _price(run: Run, task: Any) -> float:
  """Returns the FLOPs of a step."""
  from gen import counts
  from gen.evaluation.synthetic import synthetic_training

  return (
    counts.count_flops(synthetic_training.complete_model(run.model, task.length), task.length).total
    * run.data.batch
  )


def _trained(run: Run, task: Any, steps: int) -> tuple[Any, float]:
  from gen.evaluation.synthetic import synthetic_training

  run = copy.deepcopy(run)
  run.steps = steps
  losses: list[float] = []
  restored = synthetic_training.train_model(run, task, lambda step, loss: losses.append(loss))
  kind = "with calls" if task.calls else "bare results"
  print(
    f"{kind}: {steps:,} steps of {task.length} positions, {losses[-1]:.3f} nats per token", file=sys.stderr
  )
  return restored, _price(run, task) * steps


def _asked(name: str, restored: Any, task: Any, problems: list[str], helped: bool) -> dict[str, Any]:
  """Returns a row: how many problems of each operator were solved, and every text."""
  import jax
  from scipy import stats

  from gen.generation import tool_generation, tools
  from gen.generation.sampling import GREEDY

  prompts = [task.solved(problem)[0] for problem in problems]
  room = task.length - 1 - max(len(prompt) for prompt in prompts)
  registry, key = tools.standard_tools(), jax.random.key(0)
  limits: dict[str, Any] = {"max_tokens": room, "policy": "slide"}
  told = tool_generation.answer_with_tools(
    restored, prompts, registry if helped else None, GREEDY, key, **limits
  )
  texts = []
  for problem, prompt, one in zip(problems, prompts, told, strict=True):
    found, right = task.answer(one.text), str(tools.evaluate_arithmetic(problem))
    texts.append({
      "prompt": prompt, "text": one.text, "answer": found, "expected": right, "correct": found == right,
      "calls": [call._asdict() for call in one.calls],
    })  # fmt: skip
  solved = sum(one["correct"] for one in texts)
  ends = stats.binomtest(solved, len(texts)).proportion_ci(0.95, method="wilson")
  by_operator = {
    sign: [one["correct"] for one, problem in zip(texts, problems, strict=True) if sign in problem]
    for sign in task.operators
  }
  return {
    "name": name, "accuracy": solved / len(texts), "low": float(ends.low), "high": float(ends.high),
    "by_operator": {sign: sum(right) / len(right) if right else None for sign, right in by_operator.items()},
    "texts": texts,
  }  # fmt: skip


def _write(workdir: Path, rows: list[dict[str, Any]]) -> None:
  from gen import versions
  from gen.io import json_report

  found = {"rows": rows, "versions": versions.installed_versions()}
  (workdir / "tools.json").write_text(json.dumps(found, indent=1) + "\n")
  signs = list(rows[0]["by_operator"])
  print(f"{'':>28}  {'solved':>20}  " + "  ".join(f"{sign:>5}" for sign in signs))
  for row in rows:
    interval = f"{row['accuracy']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"
    parts = ["-" if row["by_operator"][sign] is None else f"{row['by_operator'][sign]:.3f}" for sign in signs]
    print(f"{row['name']:>28}  {interval:>20}  " + "  ".join(f"{part:>5}" for part in parts))
  example = next((one for one in rows[0]["texts"] if one["calls"]), rows[0]["texts"][0])
  print(f"\n{example['prompt']}{example['text']}\n{workdir / 'tools.json'}")
  json_report.write_report(found, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, Run, "configs/tools.py")
