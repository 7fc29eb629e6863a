"""The length and FLOPs of a run's rows, and its number of steps."""

import dataclasses
import functools
import json
from typing import Any, NamedTuple

from gen import counts
from gen.config import Model, Optimizer, Run, from_dict, to_dict, user_sources
from gen.config.optimizer import ELEMENTWISE
from gen.data import batches, objectives, training_batches
from gen.data.dataset import Dataset
from gen.errors import UserError

MANY_EPOCHS = 4  # up to which repeated text is worth about as much as new text (arXiv:2305.16264, section 1)


class RowLength(NamedTuple):
  """The length of one row of a run, in three meanings.

  Attributes:
    tokens: of the corpus that it reads; D of the laws counts these.
    target: positions of the stack that predicts.
    source: positions of an encoder-decoder's encoder, else 0.
  """

  tokens: int
  target: int
  source: int


def row_length(run: Run) -> RowLength:
  """Returns the lengths of a run's rows, which depend on its objective.

  Raises:
    UserError: for an objective that the model's family cannot be trained on.
  """
  data, family = run.data, run.model.role
  families = objectives.families_of(data.objective)
  if family not in families:
    raise UserError(
      f"data.objective {data.objective} trains {' or '.join(families)}, not model.family {run.model.family}; "
      "change one of them"
    )
  # Objectives of an encoder-decoder make a source and a target of each window; others have one row.
  source, target = objectives.row_shapes(data.objective, data.length, family=family)
  if family != "encoder_decoder":
    source = 0
  raw = objectives.raw_row_length(data.objective, data.length, family=family)
  # Next-token prediction reads one raw token more than it has positions; the next row reads it again.
  return RowLength(min(raw, target) if source == 0 else raw, target, source)


def flops_per_row(run: Run) -> float:
  """Returns the exact training FLOPs of one row of a completed run, with the row's share of the optimizer's update."""
  row = row_length(run)
  return counts.count_flops(run.model, row.target, row.source).total + update_flops(run) / run.data.batch


def update_flops(run: Run) -> float:
  """Returns the FLOPs of matrix products in one update of a run's optimizer; 0 for elementwise optimizers."""
  # Muon alone multiplies matrices, and a budget of FLOPs pays for that too.
  if run.optimizer.name in ELEMENTWISE:
    return 0.0
  # Only what the count depends on, so that runs of a sweep share the cached count.
  named = {name: getattr(run.optimizer, name) for name in ("name", "options", "frozen")}
  return _update_flops(json.dumps(to_dict(run.model)), json.dumps(named))


# More shapes than a sweep has; an entry is two strings and a number.
@functools.lru_cache(maxsize=4096)
def _update_flops(model: str, optimizer: str) -> float:
  from gen import optimizers  # Imports jax, which counts of most runs do without.
  from gen.models import language_model

  shapes = language_model.parameter_shapes(from_dict(Model, json.loads(model)))
  return optimizers.count_update_flops(from_dict(Optimizer, json.loads(optimizer)), shapes)


def vocab_of_tokenizer(objective: str, tokenizer: Any) -> int:
  """Returns the number of ids of a model: those of text, and except for objective `causal` those of sentinels too."""
  # A causal model never sees a sentinel: a hundred rows less in its table and its head.
  return int(tokenizer.text_vocab if objective == "causal" else tokenizer.vocab)


def complete_run(run: Run, loaded: Dataset) -> Run:
  """Returns the run with `model.vocab` and `model.context` set from its tokenizer and data.

  Raises:
    UserError: if the config sets either too small.
  """
  row = row_length(run)
  vocab = vocab_of_tokenizer(run.data.objective, loaded.tokenizer)
  if run.model.vocab and run.model.vocab < vocab:
    raise UserError(
      f"model.vocab {run.model.vocab} is less than the {vocab} ids of the tokenizer; set it to 0 to derive it"
    )
  model = dataclasses.replace(
    run.model, vocab=run.model.vocab or vocab, context=run.model.context or max(row.target, row.source)
  )
  if model.positions == "learned" and model.context < max(row.target, row.source):
    raise UserError(
      f"model.context {model.context} is less than the {max(row.target, row.source)} positions of a row; set it to 0 "
      "to derive it"
    )
  if run.flops:
    counts.require_counted(model, f"the length of the run is flops={run.flops:g}")
  run = user_sources.with_sources(dataclasses.replace(run, model=model))
  if run.optimizer.frozen or run.optimizer.rate_multipliers:
    _check_groups(run)
  return run


def _check_groups(run: Run) -> None:
  """Refuses patterns that match no parameter of the model."""
  from gen import optimizers
  from gen.config import parameter_patterns
  from gen.models import language_model

  paths = optimizers.tree_paths(language_model.parameter_shapes(run.model))
  parameter_patterns.assign_multipliers(paths, run.optimizer.frozen, run.optimizer.rate_multipliers)


def count_steps(run: Run) -> int:
  """Returns the number of steps of a completed run, from its length in steps, tokens or FLOPs.

  Raises:
    UserError: if the length is less than one step.
  """
  row = row_length(run)
  step_tokens = run.data.batch * row.tokens
  if run.steps:
    return run.steps
  # Exact FLOPs and not 6 N D: runs of one budget then spend the same, whatever attention and head take of it.
  tokens = run.tokens or run.flops / flops_per_row(run) * row.tokens
  # Rounded, not cut: a budget is met within half a step.
  steps = round(tokens / step_tokens)
  if steps < 1:
    length = f"tokens={run.tokens:g}" if run.tokens else f"flops={run.flops:g}"
    raise UserError(
      f"{length} is less than one step of {step_tokens} tokens; make the run longer, or data.batch smaller"
    )
  return steps


def count_epochs(run: Run, loaded: Dataset) -> float:
  """Returns how often a completed run reads its training text; of a mixture, the corpus that it reads most often.

  Raises:
    UserError: if a mixture cannot fill the run.
  """
  steps = count_steps(run)
  if run.data.mixture:
    objective = batches.make_objective(run.data, loaded.tokenizer, run.model.role)
    return training_batches.make_batches(loaded, run.data, run.seed, steps, objective).epoch(steps)
  (stream,) = training_batches.training_streams(loaded, run.data).values()
  return steps * run.data.batch * row_length(run).tokens / len(stream.ids)
