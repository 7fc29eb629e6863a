"""Objectives by name."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from gen.data.objectives import (
  causal,
  infilling,
  masked,
  mixture,
  own_objective,
  prefix,
  sentence_permutation,
  span_corruption,
)
from gen.data.objectives.objective import Objective, RowLengths
from gen.data.objectives.specials import Specials
from gen.errors import UserError
from gen.io import user_code


class ObjectiveEntry(NamedTuple):
  """An objective's class, its function of lengths, the parameters that its name fixes, and the required ones."""

  kind: Any  # a subclass of Objective
  lengths: Callable[..., RowLengths]
  fixed: dict[str, Any]
  needed: tuple[str, ...] = ()


OBJECTIVES = {
  "causal": ObjectiveEntry(causal.Causal, causal.row_lengths, {}),
  "prefix": ObjectiveEntry(prefix.Prefix, prefix.row_lengths, {}),
  "masked": ObjectiveEntry(masked.Masked, masked.row_lengths, {}),
  "masked_static": ObjectiveEntry(masked.Masked, masked.row_lengths, {"copies": 1}),
  "masked_whole_word": ObjectiveEntry(masked.Masked, masked.row_lengths, {}, ("word_start_v",)),
  "span_corruption": ObjectiveEntry(span_corruption.SpanCorruption, span_corruption.row_lengths, {}),
  # ByT5 hides spans of 20 bytes on average (arXiv:2105.13626, section 3.1).
  "span_corruption_bytes": ObjectiveEntry(
    span_corruption.SpanCorruption, span_corruption.row_lengths, {"mean_span": 20.0}
  ),
  "infilling": ObjectiveEntry(infilling.Infilling, infilling.row_lengths, {}),
  "bart": ObjectiveEntry(infilling.Infilling, infilling.row_lengths, {}, ("sentence_end_v",)),
  "sentence_permutation": ObjectiveEntry(
    sentence_permutation.SentencePermutation, sentence_permutation.row_lengths, {}, ("sentence_end_v",)
  ),
  "ul2": ObjectiveEntry(mixture.Mixture, mixture.row_lengths, {}),
}


def families_of(name: str) -> tuple[str, ...]:
  """Returns the model families that can be trained with an objective.

  >>> families_of("masked")
  ('encoder',)
  """
  return _entry(name).kind.families


def required_tables(name: str) -> tuple[str, ...]:
  """Returns the names of the tables by token id (see `token_tables`) that `make_objective` requires for an objective.

  >>> required_tables("masked_whole_word")
  ('word_start_v',)
  """
  return _entry(name).needed


def parameter_names(name: str) -> tuple[str, ...]:
  """Returns the optional parameters of an objective, in addition to its length.

  >>> parameter_names("prefix")
  ('family', 'start')
  """
  entry = _entry(name)
  if name not in OBJECTIVES:
    return ()
  parameters = inspect.signature(entry.kind.__init__).parameters
  return tuple(p for p in parameters if p not in ("self", "specials", "length") and p not in entry.fixed)


def raw_row_length(name: str, length: int, **parameters: Any) -> int:
  """Returns the number of raw tokens of one row of `length`.

  >>> raw_row_length("span_corruption", 128)
  141
  """
  return _lengths(name, length, parameters).raw


def row_shapes(name: str, length: int, **parameters: Any) -> tuple[int, int]:
  """Returns (source positions, target positions) of one row; source is 0 without an encoder.

  >>> row_shapes("span_corruption", 128)
  (128, 29)
  """
  sizes = _lengths(name, length, parameters)
  return sizes.source, sizes.target


def make_objective(name: str, specials: Specials, length: int, **parameters: Any) -> Objective:
  """Returns an objective.

  Args:
    name: one of `OBJECTIVES`.
    specials: the tokenizer's ids, `Specials.of(tokenizer)`.
    length: input positions: of the encoder if there is one.
    parameters: parameters; see the objective's class.

  Raises:
    UserError: for an unknown name or parameter, a missing table, or an impossible size.
  """
  entry, names = _entry(name), parameter_names(name)
  for parameter in parameters:
    if parameter not in names:
      raise UserError(
        f"objective {name!r} has no parameter {parameter!r}; it has {', '.join(names) or 'none'}"
      )
  for parameter in entry.needed:
    if parameters.get(parameter) is None:
      raise UserError(
        f"objective {name!r} needs the table {parameter}; make it with gen.data.objectives.token_tables"
      )
  lengths = _lengths(name, length, parameters)
  if name not in OBJECTIVES:
    return own_objective.OwnObjective(name, entry.kind(specials, lengths))
  return entry.kind(specials, length, **(entry.fixed | parameters))


def _entry(name: str) -> ObjectiveEntry:
  if name in OBJECTIVES:
    return OBJECTIVES[name]
  if user_code.is_reference(str(name)):
    return ObjectiveEntry(*own_objective.load_objective(name), {})
  nearest = difflib.get_close_matches(str(name), OBJECTIVES, 1, 0.0)[0]
  raise UserError(
    f"there is no objective {name!r}; the nearest is {nearest!r}; objectives are {', '.join(OBJECTIVES)}"
  )


def _lengths(name: str, length: int, parameters: dict[str, Any]) -> RowLengths:
  """Returns the sizes of a row; parameters that do not affect them are ignored."""
  entry = _entry(name)
  if length < 1:
    raise UserError(f"objective {name!r} needs a length of at least 1, not {length}")
  # The signature is the list of parameters: a second one beside it would go stale.
  names = inspect.signature(entry.lengths).parameters
  values = entry.fixed | parameters
  return entry.lengths(length, **{key: value for key, value in values.items() if key in names})
