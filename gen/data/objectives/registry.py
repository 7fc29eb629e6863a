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
  prefix,
  sentence_permutation,
  span_corruption,
)
from gen.data.objectives.objective import Lengths, Objective
from gen.data.objectives.specials import Specials
from gen.errors import UserError


class Entry(NamedTuple):
  """An objective's class, the rule of its lengths, the parameters that its name fixes, and those it cannot miss."""

  kind: Any  # a subclass of Objective
  lengths: Callable[..., Lengths]
  fixed: dict[str, Any]
  needed: tuple[str, ...] = ()


OBJECTIVES = {
  "causal": Entry(causal.Causal, causal.lengths, {}),
  "prefix": Entry(prefix.Prefix, prefix.lengths, {}),
  "masked": Entry(masked.Masked, masked.lengths, {}),
  "masked_static": Entry(masked.Masked, masked.lengths, {"copies": 1}),
  "masked_whole_word": Entry(masked.Masked, masked.lengths, {}, ("word_start_v",)),
  "span_corruption": Entry(span_corruption.SpanCorruption, span_corruption.lengths, {}),
  "span_corruption_bytes": Entry(
    span_corruption.SpanCorruption, span_corruption.lengths, {"mean_span": 20.0}
  ),
  "infilling": Entry(infilling.Infilling, infilling.lengths, {}),
  "bart": Entry(infilling.Infilling, infilling.lengths, {}, ("sentence_end_v",)),
  "sentence_permutation": Entry(
    sentence_permutation.SentencePermutation, sentence_permutation.lengths, {}, ("sentence_end_v",)
  ),
  "ul2": Entry(mixture.Mixture, mixture.lengths, {}),
}


def families(name: str) -> tuple[str, ...]:
  """Returns the model families that can learn an objective.

  >>> families("masked")
  ('encoder',)
  """
  return _entry(name).kind.families


def needs(name: str) -> tuple[str, ...]:
  """Returns the tables by token id (see `pieces`) that `make` must be given for an objective.

  >>> needs("masked_whole_word")
  ('word_start_v',)
  """
  return _entry(name).needed


def parameters(name: str) -> tuple[str, ...]:
  """Returns what `make` can be told of an objective beside its length.

  >>> parameters("prefix")
  ('family', 'start')
  """
  entry = _entry(name)
  known = inspect.signature(entry.kind.__init__).parameters
  return tuple(p for p in known if p not in ("self", "specials", "length") and p not in entry.fixed)


def raw_length(name: str, length: int, **given: Any) -> int:
  """Returns how many raw tokens are read for one row of `length`.

  >>> raw_length("span_corruption", 128)
  141
  """
  return _lengths(name, length, given).raw


def shapes(name: str, length: int, **given: Any) -> tuple[int, int]:
  """Returns (source positions, target positions) of one row; source is 0 where there is none.

  >>> shapes("span_corruption", 128)
  (128, 29)
  """
  sizes = _lengths(name, length, given)
  return sizes.source, sizes.target


def make(name: str, specials: Specials, length: int, **given: Any) -> Objective:
  """Returns an objective.

  Args:
    name: one of `OBJECTIVES`.
    specials: the tokenizer's ids, `Specials.of(tokenizer)`.
    length: positions that the model reads: the source's where there is one.
    given: parameters; see the objective's class.

  Raises:
    UserError: for an unknown name or parameter, a missing table, or an impossible size.
  """
  entry, known = _entry(name), parameters(name)
  for parameter in given:
    if parameter not in known:
      raise UserError(
        f"objective {name!r} has no parameter {parameter!r}; it has {', '.join(known) or 'none'}"
      )
  for parameter in entry.needed:
    if given.get(parameter) is None:
      raise UserError(
        f"objective {name!r} needs a table {parameter} by token id: give it, as gen.data.objectives.pieces makes it"
      )
  _lengths(name, length, given)
  return entry.kind(specials, length, **(entry.fixed | given))


def _entry(name: str) -> Entry:
  if name in OBJECTIVES:
    return OBJECTIVES[name]
  near = difflib.get_close_matches(str(name), OBJECTIVES, 1, 0.0)[0]
  raise UserError(
    f"no objective is called {name!r}; did you mean {near!r}? There are {', '.join(OBJECTIVES)}"
  )


def _lengths(name: str, length: int, given: dict[str, Any]) -> Lengths:
  """Returns the sizes of a row; parameters that do not bear on them are passed over."""
  entry = _entry(name)
  if length < 1:
    raise UserError(f"objective {name!r} needs a length of at least 1, not {length}")
  known = inspect.signature(entry.lengths).parameters
  told = entry.fixed | given
  return entry.lengths(length, **{key: value for key, value in told.items() if key in known})
