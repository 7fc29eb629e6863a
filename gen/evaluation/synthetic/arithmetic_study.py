"""Arithmetic with and without a calculator: training of one model, and its accuracy on held-out problems."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import jax

from gen import counts
from gen.config import Run
from gen.evaluation.synthetic import synthetic_training
from gen.evaluation.synthetic.arithmetic import Arithmetic
from gen.generation import tool_generation, tools
from gen.generation.decoding.sampling import GREEDY


def step_flops(run: Run, task: Arithmetic) -> float:
  """Returns the training FLOPs of a step."""
  return (
    counts.count_flops(synthetic_training.complete_model(run.model, task.length), task.length).total
    * run.data.batch
  )


def train_solver(run: Run, task: Arithmetic, steps: int, report: Callable[[str], None]) -> tuple[Any, float]:
  """Trains a model on a task.

  Args:
    run: of a decoder.
    task: problems with calls or with bare results.
    steps: of training.
    report: called with a line when it is done.

  Returns:
    The model, and its training FLOPs.
  """
  run = copy.deepcopy(run)
  run.steps = steps
  losses: list[float] = []
  restored = synthetic_training.train_model(run, task, lambda step, loss: losses.append(loss))
  kind = "with calls" if task.calls else "bare results"
  report(f"{kind}: {steps:,} steps of {task.length} positions, {losses[-1]:.3f} nats per token")
  return restored, step_flops(run, task) * steps


class SolvedProblem(TypedDict):
  """A problem and what a model wrote; `calls` are the fields of its `ToolCall`s."""

  prompt: str
  text: str
  answer: str | None
  expected: str
  correct: bool
  calls: list[dict[str, object]]


class ArithmeticRow(TypedDict):
  """The accuracy of a model with a 95 % interval, in total and by operator, every text, and the FLOPs of training."""

  name: str
  accuracy: float
  low: float
  high: float
  by_operator: dict[str, float | None]
  texts: list[SolvedProblem]
  flops: float


def solve_problems(
  name: str, restored: Any, task: Arithmetic, problems: Sequence[str], has_calculator: bool, flops: float
) -> ArithmeticRow:
  """Returns a row: accuracy with a 95 % interval, in total and by operator, and every text.

  Args:
    name: of the row.
    restored: the trained model.
    task: the task that it was trained on.
    problems: held-out problems, such as "12+7".
    has_calculator: whether calls are answered.
    flops: of its training.
  """
  from scipy import stats

  prompts = [task.solved(problem)[0] for problem in problems]
  max_tokens = task.length - 1 - max(len(prompt) for prompt in prompts)
  registry, key = tools.standard_tools(), jax.random.key(0)
  outputs = tool_generation.answer_with_tools(
    restored,
    prompts,
    registry if has_calculator else None,
    GREEDY,
    key,
    max_tokens=max_tokens,
    policy="slide",
  )
  texts: list[SolvedProblem] = []
  for problem, prompt, output in zip(problems, prompts, outputs, strict=True):
    answer, expected = task.answer(output.text), str(tools.evaluate_arithmetic(problem))
    texts.append({
      "prompt": prompt, "text": output.text, "answer": answer, "expected": expected, "correct": answer == expected,
      "calls": [call._asdict() for call in output.calls],
    })  # fmt: skip
  solved = sum(solution["correct"] for solution in texts)
  ends = stats.binomtest(solved, len(texts)).proportion_ci(0.95, method="wilson")
  by_operator = {
    sign: [solution["correct"] for solution, problem in zip(texts, problems, strict=True) if sign in problem]
    for sign in task.operators
  }
  return {
    "name": name, "accuracy": solved / len(texts), "low": float(ends.low), "high": float(ends.high),
    "by_operator": {sign: sum(right) / len(right) if right else None for sign, right in by_operator.items()},
    "texts": texts, "flops": flops,
  }  # fmt: skip


def report_lines(rows: Sequence[ArithmeticRow]) -> list[str]:
  """Returns the accuracies as a table, and one example of a call."""
  signs = list(rows[0]["by_operator"])
  lines = [f"{'':>28}  {'solved':>20}  " + "  ".join(f"{sign:>5}" for sign in signs)]
  for row in rows:
    interval = f"{row['accuracy']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"
    parts = ["-" if row["by_operator"][sign] is None else f"{row['by_operator'][sign]:.3f}" for sign in signs]
    lines.append(f"{row['name']:>28}  {interval:>20}  " + "  ".join(f"{part:>5}" for part in parts))
  example = next((solution for solution in rows[0]["texts"] if solution["calls"]), rows[0]["texts"][0])
  return [*lines, "", f"{example['prompt']}{example['text']}"]
