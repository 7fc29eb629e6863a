"""The first state of a run that starts from a checkpoint: the checkpoint's arrays in place of drawn ones.

Rows of the vocabulary are matched by token, learned positions by number. What has no counterpart keeps the values that
were drawn from the run's seed. Everything else must agree, unless the run asks for a part of another model.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from gen.config import Model, Run
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.models import language_model
from gen.optimizers import tree_paths
from gen.training import start_source, vocabulary_rows
from gen.training.start_source import StartSource
from gen.training.step import TrainState

# Fields of a model that change how it is trained or computed, not what its parameters mean.
_FREE = (  # noqa: SIM905
  "vocab context dropout initializer_scale dtype scan remat attention loss_chunk carry "
  "quantize_weights quantize_activations quantize_group"  # rounding may begin after float training
).split()
_ONLY_WITH = {  # positions -> fields that no others read
  "relative": ("relative_buckets", "relative_distance"),
  "rotary": ("rotary_base",),
  "learned": ("position_offset",),
}


class StartedState(NamedTuple):
  """A run's first state, where it came from, and sentences on what was copied."""

  state: TrainState
  source: StartSource
  notes: list[str]


class _Copy(NamedTuple):
  """What a parameter gets: the source's values along one axis, by index; `NEW` keeps what was drawn."""

  path: str
  axis: int
  matches: np.ndarray


def start_state(run: Run, drawn: TrainState, tokenizer: Tokenizer) -> StartedState:
  """Returns the state that a completed run starts from.

  Args:
    run: names its source in `start_from`.
    drawn: the state drawn from the run's seed; what is copied goes where its arrays lie.
    tokenizer: of the run.

  Raises:
    UserError: for a source that cannot be read, or does not agree with the run's model.
  """
  source = start_source.find_source(run.start_from)
  model, params = start_source.read_parameters(source)
  # Shapes alone do not tell whether parameters mean the same: layers with GELU and with ReLU have equal ones.
  if not run.start_partial:
    require_same_model(run.model, model, source)
  flat = dict(zip(tree_paths(params), jax.tree.leaves(params), strict=True))
  own_tokenizer = start_source.read_tokenizer(source)
  if own_tokenizer is None and run.model.vocab != model.vocab:
    raise UserError(
      f"{source.where} has no tokenizer, so rows of its vocabulary ({model.vocab:,}) cannot be matched with the run's "
      f"({run.model.vocab:,}); put the tokenizer's files there"
    )
  # By token and not by row: a row of another vocabulary's order would be another word's embedding.
  matches_v = vocabulary_rows.match_rows(tokenizer, run.model.vocab, own_tokenizer, model.vocab)
  new, notes = _merge(run, drawn.params, flat, matches_v, source)
  if own_tokenizer is None:
    notes.append(f"{source.where} has no tokenizer; its ids are taken for those of the run's")
  # Step, random key and moments stay those of a new run: only the parameters come from the source.
  state = drawn._replace(params=new)
  if run.start_opt_state:
    # In the template's layout: the source may have been trained on another mesh.
    state = state._replace(opt_state=start_source.read_opt_state(source, _template(drawn.opt_state)))
    notes.append("the optimizer's state is copied too")
  return StartedState(state, source, notes)


def _template(tree: Any) -> Any:
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree)


def _merge(
  run: Run, drawn: Any, source: dict[str, np.ndarray], matches_v: np.ndarray, where: StartSource
) -> tuple[Any, list[str]]:
  """Returns the parameters, and sentences on what was copied."""
  axes = _logical_axes(run.model)
  leaves, structure = jax.tree.flatten(drawn)
  paths = tree_paths(drawn)
  new: dict[str, Any] = {}
  copies: list[_Copy] = []
  faults = [f"{where.where} has {path}, which the run's model has not" for path in source if path not in axes]
  for path, leaf in zip(paths, leaves, strict=True):
    value = source.get(path)
    if value is None:
      faults.append(f"{where.where} has no {path}")
      continue
    copy = _find_copy(path, axes[path], leaf.shape, value.shape, matches_v)
    if copy is None:
      faults.append(
        f"{path} is {list(value.shape)} in {where.where} and {list(leaf.shape)} in the run's model"
      )
      continue
    copies.append(copy)
    new[path] = _placed(_fill(copy, leaf, value), leaf)
  if faults and not run.start_partial:
    raise UserError(f"{faults[0]}; make the models alike, or copy what agrees with start_partial")
  if not new:
    raise UserError(f"nothing of {where.where} agrees with the run's model; leave start_from out")
  notes = _sentences(len(new), len(paths), source, copies, faults, where)
  return jax.tree.unflatten(
    structure, [new.get(path, leaf) for path, leaf in zip(paths, leaves, strict=True)]
  ), notes


def _logical_axes(model: Model) -> dict[str, tuple[str | None, ...]]:
  """Returns the names of each parameter's axes, by path."""
  from jax.sharding import PartitionSpec

  leaves = jax.tree_util.tree_leaves_with_path(
    language_model.logical_axes(model), is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)
  )
  return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(names) for path, names in leaves}


def _find_copy(
  path: str,
  axes: tuple[str | None, ...],
  shape: tuple[int, ...],
  source: tuple[int, ...],
  matches_v: np.ndarray,
) -> _Copy | None:
  """Returns how a parameter is filled; None if its shape does not allow it."""
  if len(shape) != len(source):
    return None
  # Only these axes may differ in size: their rows have a meaning of their own, by token or by number.
  axis = next((at for at, name in enumerate(axes) if name in ("vocab", "positions")), -1)
  if any(size != theirs for at, (size, theirs) in enumerate(zip(shape, source, strict=True)) if at != axis):
    return None
  if axis < 0:
    return _Copy(path, 0, np.arange(shape[0] if shape else 1))
  if axes[axis] == "vocab":
    return _Copy(path, axis, matches_v)
  numbers = np.arange(shape[axis])
  # Longer contexts keep drawn values behind the source's last position.
  return _Copy(path, axis, np.where(numbers < source[axis], numbers, vocabulary_rows.NEW))


def _fill(copy: _Copy, drawn: Any, value: np.ndarray) -> np.ndarray:
  """Returns the source's values, and the drawn ones where it has none."""
  matches = copy.matches
  if not value.shape or (
    len(matches) == value.shape[copy.axis] and (matches == np.arange(len(matches))).all()
  ):
    return value
  # NEW is -1: row 0 stands in for it, and is overwritten below.
  filled = np.take(value, np.maximum(matches, 0), axis=copy.axis)
  is_new = matches == vocabulary_rows.NEW
  if is_new.any():
    index = (slice(None),) * copy.axis + (is_new,)
    filled[index] = _on_host(drawn)[index]
  return filled


def _on_host(drawn: Any) -> np.ndarray:
  """Returns a drawn parameter on this host, also where other processes hold parts of it."""
  if drawn.is_fully_addressable:
    return np.asarray(drawn)
  from jax.experimental import multihost_utils

  return np.asarray(multihost_utils.process_allgather(drawn, tiled=True))


def _placed(value: np.ndarray, like: Any) -> Any:
  """Returns host values as an array that lies where another does."""
  value = np.array(value, like.dtype)  # a copy: the step that is given the array may overwrite it
  # Each process hands over its own shards alone.
  return jax.make_array_from_callback(value.shape, like.sharding, lambda index: value[index])


def _sentences(
  copied: int,
  total: int,
  source: dict[str, np.ndarray],
  copies: list[_Copy],
  faults: list[str],
  where: StartSource,
) -> list[str]:
  notes = [f"starts from {where.where}: {copied:,} of {total:,} parameter arrays are copied"]
  noted = set()
  for copy in copies:
    shape, new = source[copy.path].shape, len(copy.matches)
    old = shape[copy.axis] if shape else 1
    present = int((copy.matches != vocabulary_rows.NEW).sum())
    used = len(np.unique(copy.matches[copy.matches != vocabulary_rows.NEW]))
    what = "positions" if copy.path.endswith("positions/embedding") else "rows of the vocabulary"
    if what in noted or (present == new and used == old):
      continue
    noted.add(what)
    drawn = f", and {new - present:,} drawn" if present < new else ""
    left = f"; {old - used:,} of the checkpoint's {old:,} are not used" if used < old else ""
    notes.append(f"{present:,} of {new:,} {what} are copied{drawn}{left}")
  if faults:
    more = f" (and {len(faults) - 1:,} more)" if len(faults) > 1 else ""
    notes.append(f"not everything agrees, as start_partial allows: {faults[0]}{more}")
  return notes


def require_same_model(wanted: Model, saved: Model, source: StartSource) -> None:
  """Refuses a source whose model computes something else from parameters of the same shapes.

  Raises:
    UserError: with the first field that differs.
  """
  mine, its = _meaning(wanted), _meaning(saved)
  for name, value in mine.items():
    if value != its.get(name):
      raise UserError(
        f"{source.where} has model.{name} {its.get(name)!r}, and the run {value!r}; set it alike, or copy what agrees "
        "with start_partial"
      )


def _meaning(model: Model) -> dict[str, object]:
  """Returns the fields that decide what the parameters mean, with derived sizes in place of zeros."""
  values = dataclasses.asdict(model)
  for name in _FREE:
    values.pop(name)
  for positions, names in _ONLY_WITH.items():
    if model.positions != positions:
      for name in names:
        values.pop(name)
  # Zeros stand for derived sizes; two configs that derive and state the same size are one model.
  values |= {"heads": model.n_heads, "key_value_heads": model.n_key_value_heads}
  values |= {
    "feed_forward": model.feed_forward_width,
    "head_activation": model.head_activation or model.activation,
  }
  if model.family == "encoder_decoder":
    values |= {
      "decoder_depth": model.target_depth,
      "decoder_heads": model.decoder_heads or model.n_heads,
      "decoder_feed_forward": model.decoder_feed_forward or model.feed_forward_width,
    }
  else:
    for name in ("decoder_depth", "decoder_heads", "decoder_feed_forward"):
      values.pop(name)
  # A recurrent layer has none of these.
  if model.recurrent:
    for name in ("heads", "key_value_heads", "head_width", "feed_forward", "positions"):
      values.pop(name, None)
  return values
