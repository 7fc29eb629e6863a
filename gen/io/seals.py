"""Checksums (seals) inside JSON objects; an object that was changed after it was sealed is refused.

A seal is the SHA-256 of the object's values, not of its text. So a file may be indented again or have its keys in
another order. It detects accidents and edits by hand, but not a program that computes the seal again.
"""

import hashlib
import json
from collections.abc import Mapping

from gen.errors import UserError

SEAL = "seal"
ROW = "row"  # number of a line of a journal, from 1, under its seal
ROWS = "rows"  # number of all lines, if the journal was complete when it was written
_DIGITS = 16  # hex digits: 64 bits are enough against accidents


def seal_of(values: Mapping[str, object]) -> str:
  """Returns the seal of an object; a seal in it is ignored.

  Args:
    values: plain values that JSON can hold.
  """
  plain = {name: value for name, value in values.items() if name != SEAL}
  # Sorted keys and no spaces: one text for equal values.
  text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def with_seal(values: Mapping[str, object]) -> dict[str, object]:
  """Returns the object with its seal as the last entry.

  >>> with_seal({"loss": 2.5})
  {'loss': 2.5, 'seal': '23529f1b16a76cd2'}
  """
  plain = {name: value for name, value in values.items() if name != SEAL}
  return plain | {SEAL: seal_of(plain)}


def without_seal(values: Mapping[str, object], name: str) -> dict[str, object]:
  """Returns the object without its seal; one without a seal is returned as it is.

  Args:
    values: as read from JSON.
    name: name of the object in errors, for example "line 7 of journal.jsonl".

  Raises:
    UserError: if its seal differs.
  """
  if SEAL not in values:
    return dict(values)
  try:
    seal = seal_of(values)
  except RecursionError:  # JSON can be read a little deeper than it can be written
    raise UserError(f"{name} is nested too deeply") from None
  if values[SEAL] != seal:
    raise UserError(f"{name} was changed after it was written: its values do not match its seal")
  return {key: value for key, value in values.items() if key != SEAL}
