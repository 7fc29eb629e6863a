"""Checksums inside JSON: an object that carries one is as it was written, or is refused.

A seal is the SHA-256 of the object's values, not of its text, so a file that was indented anew or whose keys were put
in another order still agrees. It finds accidents and edits by hand; whoever computes it anew can write anything.
"""

import hashlib
import json
from typing import Any

from gen.errors import UserError

SEAL = "seal"
ROW = "row"  # number of a line of a journal, from 1, under its seal
ROWS = "rows"  # how many there are, where the journal was complete when it was written
_DIGITS = 16


def seal_of(values: dict[str, Any]) -> str:
  """Returns the seal of an object, whatever seal it carries already.

  Args:
    values: plain values, as JSON can hold them.
  """
  plain = {name: value for name, value in values.items() if name != SEAL}
  text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def with_seal(values: dict[str, Any]) -> dict[str, Any]:
  """Returns the object with its seal as the last entry.

  >>> with_seal({"loss": 2.5})
  {'loss': 2.5, 'seal': '23529f1b16a76cd2'}
  """
  plain = {name: value for name, value in values.items() if name != SEAL}
  return plain | {SEAL: seal_of(plain)}


def without_seal(values: dict[str, Any], name: str) -> dict[str, Any]:
  """Returns the object without its seal; one without a seal is returned as it is.

  Args:
    values: as JSON held them.
    name: what errors call it, for example "line 7 of journal.jsonl".

  Raises:
    UserError: if it carries a seal that does not agree.
  """
  if SEAL not in values:
    return values
  if values[SEAL] != seal_of(values):
    raise UserError(f"{name} was changed after it was written: its values do not agree with its seal")
  return {key: value for key, value in values.items() if key != SEAL}
