"""The steps that a profile covers, as `profile` of a run names them."""

import re

from gen.errors import UserError


def parse_profile(text: str) -> tuple[int, int] | None:
  """Returns the first and the last step of a profile, counted from 1, or None if the text is empty.

  >>> parse_profile("10:13"), parse_profile("7"), parse_profile("")
  ((10, 13), (7, 7), None)

  Raises:
    UserError: for a text that is no range of steps.
  """
  if not text:
    return None
  match = re.fullmatch(r"\s*([0-9]{1,10})\s*(?::\s*([0-9]{1,10})\s*)?", text)
  if match is None:
    raise UserError(f"profile is {text[:60]!r}; write the first and the last step to trace, as in 10:13")
  first, last = int(match[1]), int(match[2] or match[1])
  if not 1 <= first <= last:
    raise UserError(
      f"profile is {text[:60]!r}; the first step must be 1 or more, and the last no smaller than the first"
    )
  return first, last
