"""The checkpoint of a model with a task's head, in the folder of a run.

The model's own parameters are saved as those of any run, so everything that reads runs reads them. What stands on top
of its hidden states is saved beside them:

    params        the model; its language-model head is the one before fine-tuning, and no longer fits
    task_head     head, and BERT's pooler where the head reads it

The meta has `head` false, as of any checkpoint without a language-model head, and the head's config in `task_head`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.config import Model, Run, config_hash, to_dict
from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.io import checksums, typed_json
from gen.models import heads, language_model
from gen.training.checkpointing import checkpoint_folder
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.run_folders import run_folder

TASK_HEAD = "task_head"
# BERT's pooler belongs to the head: masked language modelling does not read it.
_ON_TOP = ("head", "pool")


class HeadedParameters(NamedTuple):
  """A model with a head for a task.

  Attributes:
    model: its config.
    head: config of the head; of kind none for a language model.
    params: as `gen.models.heads` has them.
  """

  model: Model
  head: HeadConfig
  params: Any


def save_headed(
  workdir: Path, run: Run, step: int, headed: HeadedParameters, before: Any, meta: dict[str, Any]
) -> None:
  """Writes the config and the checkpoint of a fine-tuned model.

  Args:
    workdir: folder of the run.
    run: its config.
    step: of the checkpoint.
    headed: the model.
    before: parameters of the language model that it was before, whose head is kept.
    meta: further values, such as the tokenizer's hash.

  Raises:
    UserError: if the folder cannot be written.
  """
  has_head = headed.head.kind != "none"
  state: dict[str, Any] = {"params": headed.params}
  if has_head:
    on_top = {name: headed.params[name] for name in _ON_TOP if name in headed.params}
    body = {name: on_top.get(name, value) if name == "pool" else value for name, value in before.items()}
    # The language model of before keeps its own head, so that every reader of runs finds a complete tree.
    body |= {name: value for name, value in headed.params.items() if name not in _ON_TOP}
    state = {"params": body, TASK_HEAD: on_top}
    meta = meta | {"head": False, TASK_HEAD: typed_json.encode_record(headed.head)}
  meta = {"config": to_dict(run), "run": config_hash(run)} | meta
  with Checkpoints(workdir / run_folder.CHECKPOINTS) as checkpoints:
    checkpoints.save(step, jax.tree.map(np.asarray, state), meta)
  # The config comes last: a folder with a config and no checkpoint would count as a run that has not begun.
  checksums.write_atomically(workdir / run_folder.CONFIG, run_folder.config_text(run))


def read_head(folder: Path, step: int | None = None) -> HeadConfig:
  """Returns the head of a run's checkpoint; of kind none if it is a language model.

  Args:
    folder: of the run.
    step: of the checkpoint; None is the latest.

  Raises:
    UserError: if there is no such checkpoint.
  """
  steps = checkpoint_folder.complete_steps(folder / run_folder.CHECKPOINTS)
  if not steps or (step is not None and step not in steps):
    raise UserError(f"{folder} has no checkpoint{'' if step is None else f' of step {step}'}; it has {steps}")
  chosen = steps[-1] if step is None else step
  meta = checkpoint_folder.read_record(folder / run_folder.CHECKPOINTS, chosen)["meta"]
  head = dict(meta).get(TASK_HEAD)
  # A run of pre-training has no such entry.
  if head is None:
    return HeadConfig("none")
  return typed_json.decode_record(HeadConfig, head, f"the head of step {chosen} in {folder}")


def read_headed(folder: Path, step: int | None = None) -> HeadedParameters:
  """Returns the model with the head of a run's checkpoint, float32; a language model if it has none.

  Args:
    folder: of the run.
    step: of the checkpoint; None is the latest.

  Raises:
    UserError: if there is no such checkpoint, or it is damaged.
  """
  head, run = read_head(folder, step), run_folder.saved_run(folder, step)
  with Checkpoints(folder / run_folder.CHECKPOINTS) as checkpoints:
    params = checkpoints.restore_parameters(_on_host(language_model.parameter_shapes(run.model)), step)
    if head.kind == "none":
      return HeadedParameters(run.model, head, params)
    shapes = heads.headed_parameter_shapes(run.model, head)
    template = _on_host({name: shapes[name] for name in _ON_TOP if name in shapes})
    on_top = checkpoints.restore_part(TASK_HEAD, template, step)
  body = {name: value for name, value in params.items() if name not in _ON_TOP}
  return HeadedParameters(run.model, head, body | on_top)


def _on_host(shapes: Any) -> Any:
  # numpy templates, so that arrays are read onto the host; the caller places them.
  return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shapes)
