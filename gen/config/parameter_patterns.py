"""Patterns over the paths of parameters, which name those that are frozen or have a learning rate of their own.

A path is the names down to a parameter, as target/stack/layers/attention/query/kernel. A pattern is a shell pattern in
which * matches / too. It matches a parameter, or everything below a name: embedding, head/*, */bias.
"""

import difflib
import fnmatch
import math
from collections.abc import Iterable

from gen.errors import UserError


def matches_path(path: str, pattern: str) -> bool:
  """Returns whether a pattern matches a parameter.

  >>> matches_path("head/logits/kernel", "head"), matches_path("head/logits/kernel", "logits")
  (True, False)
  """
  return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"{pattern.rstrip('/')}/*")


def read_multiplier(text: str) -> tuple[str, float]:
  """Returns the pattern and the multiplier of an entry of optimizer.rate_multipliers.

  Raises:
    UserError: for text that is not PATTERN=NUMBER with a positive number.

  >>> read_multiplier("head/*=10")
  ('head/*', 10.0)
  """
  pattern, _, number = (part.strip() for part in text.rpartition("="))
  try:
    multiplier = float(number)
  except ValueError:
    multiplier = math.nan
  if not pattern or not 0 < multiplier < math.inf:
    raise UserError(
      f"optimizer.rate_multipliers has {text!r}; write PATTERN=NUMBER with a positive number, as head/*=10 "
      "(optimizer.frozen keeps parameters as they are)"
    )
  return pattern, multiplier


def check_patterns(frozen: Iterable[str], rate_multipliers: Iterable[str]) -> None:
  """Checks the patterns of an optimizer as far as they can be checked without a model.

  Raises:
    UserError: for an empty pattern, or a multiplier that is none.
  """
  for pattern in frozen:
    if not pattern.strip():
      raise UserError("optimizer.frozen has an empty pattern; write the path of parameters, as embedding")
  for text in rate_multipliers:
    read_multiplier(text)


def assign_multipliers(
  paths: Iterable[str], frozen: Iterable[str], rate_multipliers: Iterable[str]
) -> dict[str, float]:
  """Returns the multiple of the learning rate of each trained parameter; frozen ones are left out.

  Where several patterns match, the last one decides.

  Raises:
    UserError: for a pattern that matches no trained parameter, or if nothing is left to train.
  """
  every = list(paths)
  trained = dict.fromkeys(every, 1.0)
  for pattern in frozen:
    _require_match("optimizer.frozen", pattern, every, every)
    for path in every:
      if matches_path(path, pattern):
        trained.pop(path, None)
  if not trained:
    raise UserError(
      "optimizer.frozen matches every parameter, so nothing is left to train; take a pattern out"
    )
  for pattern, multiplier in map(read_multiplier, rate_multipliers):
    _require_match("optimizer.rate_multipliers", pattern, list(trained), every)
    trained |= {path: multiplier for path in trained if matches_path(path, pattern)}
  return trained


def _require_match(field: str, pattern: str, candidates: list[str], every: list[str]) -> None:
  if any(matches_path(path, pattern) for path in candidates):
    return
  if any(matches_path(path, pattern) for path in every):
    raise UserError(
      f"{field}: {pattern!r} matches only parameters that optimizer.frozen keeps; take it out of one of them"
    )
  raise UserError(f"{field}: {pattern!r} matches no parameter; the nearest is {_nearest(pattern, every)}")


def _nearest(pattern: str, paths: list[str]) -> str:
  plain = pattern.replace("*", "").strip("/")
  return max(
    paths, key=lambda path: max(_likeness(plain, part) for part in (path, *_heads(path), *path.split("/")))
  )


def _likeness(first: str, second: str) -> float:
  return difflib.SequenceMatcher(None, first, second).ratio()


def _heads(path: str) -> list[str]:
  names = path.split("/")
  return ["/".join(names[:count]) for count in range(1, len(names))]
