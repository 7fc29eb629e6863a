"""Flags of task scores before and after a change of a model, such as fewer bits."""

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from gen.errors import UserError
from gen.io import quantities

if TYPE_CHECKING:
  from gen.evaluation.paired_tasks import PairedScore

flags.disclaim_key_flags()  # absl then lists them under the experiment that defines them, so --help shows them.


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_list("tasks", [], "Tasks of lm-evaluation-harness to score before and after; needs --output.")
  flags.DEFINE_string("include_path", "", "Folder with YAML files of more tasks.")
  quantities.DEFINE_integer("limit", None, "Maximum number of questions of each task.", lower_bound=1)


def require_output(output: str) -> None:
  """Checks that the changed model is written where tasks read it.

  Raises:
    UserError: for tasks without an output folder, or without the harness.
  """
  if not flags.FLAGS.tasks:
    return
  if not output:
    raise UserError("--tasks scores the written model too; name its folder with --output")
  from gen.evaluation import harness

  harness.require_harness()


def score_folders(before: Path, after: str, seed: int) -> "list[PairedScore] | None":
  """Returns and prints the paired scores of the models in two folders; None if no tasks are asked for.

  Args:
    before: folder of the first model.
    after: of the changed one.
    seed: of the bootstrap.

  Raises:
    UserError: for a task or model that the harness cannot evaluate.
  """
  values = flags.FLAGS
  if not values.tasks:
    return None
  from gen.evaluation import paired_tasks

  scores = paired_tasks.compare_folders(
    before, after, values.tasks, include_path=values.include_path, limit=values.limit, seed=seed
  )
  print("\n".join(paired_tasks.score_lines(scores)))
  return scores
