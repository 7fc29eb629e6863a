"""Splits a compute budget into tokens: numbers, devices, words, multiplication signs, other signs.

Only spaces and hyphens inside words are skipped; any other character outside a token is an error.
"""

import difflib
import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

from gen.errors import UserError

EXAMPLES = (
  "write 5.76e23, '3640 PF-days', '64 x 72 h of h100 at 40 %', '8 h100 for 3 days', '24 GPU-days of h100', "
  "'$10k at $2/h' or '30 min of this machine'"
)
MAX_LENGTH = 300  # characters of a budget
# Characters of the user's text that an error repeats: half a line of a terminal.
_SHOWN = 60

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_SIGNS = str.maketrans(
  {
    **dict.fromkeys("×·⋅", " x "),
    **dict.fromkeys("‐‑–—", "-"),
    **dict.fromkeys("()\t\r\n\u00a0\u2009\u202f", " "),
  }
)
# Fields of digits may be grouped by underscores, or by commas in threes.
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:_\d+)*)(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?"


class BudgetToken(NamedTuple):
  """One token.

  Attributes:
    kind: number, device, word, times or sign.
    text: as it stands in the budget.
    word: in lower case; a device by its name in the list of devices.
    value: of a number.
  """

  kind: str
  text: str
  word: str
  value: float = 0.0


def budget_tokens(text: str, devices: Iterable[str]) -> list[BudgetToken]:
  """Returns the tokens of a budget.

  Args:
    text: the budget.
    devices: names of devices in lower case; a hyphen in one may be written as a space or left out.

  Raises:
    UserError: for an empty or very long text, and a character that belongs to no token.

  >>> [token.word for token in budget_tokens("8xH100 for 3days", ["h100"])]
  ['8', 'x', 'h100', 'for', '3', 'days']
  """
  if not text.strip():
    raise UserError(f"the budget is empty; {EXAMPLES}")
  if len(text) > MAX_LENGTH:
    raise UserError(f"a budget of {len(text):,} characters is too long; {EXAMPLES}")
  plain = _plain(text)
  names = {re.sub(r"[\s-]", "", name): name for name in devices}
  form = _form(tuple(names.values()))
  tokens, position = [], 0
  while position < len(plain):
    matched = form.match(plain, position)
    if matched is None:
      raise not_understood(text, plain[position:].split()[0])
    position = matched.end()
    if matched.lastgroup == "unknown":
      near = difflib.get_close_matches(matched[0].lower(), names.values(), 1, 0.0)[0]
      raise UserError(
        f"no peak of a device {matched[0][:_SHOWN]!r} is known; the nearest is {near!r}, "
        "or give its peak with --gpu=1e15"
      )
    if matched.lastgroup:
      tokens.append(_token(matched.lastgroup, matched[0].strip(), names))
  return tokens


def not_understood(text: str, what: str) -> UserError:
  """Returns the error for a part of a budget."""
  excerpt = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
  return UserError(f"{excerpt!r} is not a budget: {what[:_SHOWN]!r} is not understood; {EXAMPLES}")


def _plain(text: str) -> str:
  """Returns the text with one kind of multiplication sign, dash, space and power."""
  raised = re.sub("10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda power: "10^" + power[1].translate(_SUPERSCRIPTS), text)
  plain = raised.translate(_SIGNS)
  # A hyphen joins words (PF-days, 8-GPU); before a number it is a sign, which no budget has.
  return re.sub(r"(?<=[A-Za-z0-9])-(?=[A-Za-z])", " ", plain).strip()


@functools.cache
def _form(names: tuple[str, ...]) -> re.Pattern[str]:
  """Returns the pattern of any one token, or of spaces between two."""
  # The letters of a name may stand apart where the list has a hyphen; the longest name is tried first.
  spelled = "|".join(
    re.escape(name).replace(r"\-", r"[\s-]?") for name in sorted(names, key=len, reverse=True)
  )
  maker, variant = r"(?:(?:nvidia|amd|google)\s+)?", r"(?:[\s-]+sxm\d?\b|[\s-]*\d+\s?gb\b)*"
  device_end = r"(?:s(?![a-z]))?(?=$|[^a-z0-9.]|x\s*\d|[a-z]+\b)"
  # A name with digits that is no device; but units follow numbers without a space, as in 2h30min.
  unknown = r"(?!(?<=\d)(?:s|h|d|w|min|hours?|days?|weeks?)\d)[a-z]+-?\d[a-z0-9-]*"
  kinds = {
    "device": f"{maker}(?:{spelled}){variant}{device_end}",
    "power": r"10(?:\^|\*\*)\d{1,3}(?!\d)",
    "number": _NUMBER,
    "times": rf"\*|x(?=\s|\d|$|{maker}(?:{spelled}))",
    "unknown": unknown,
    "word": "[a-z]+",
    "sign": "[$€£%@/+,=]",
  }
  return re.compile(r"\s+|" + "|".join(f"(?P<{kind}>{form})" for kind, form in kinds.items()), re.IGNORECASE)


def _token(kind: str, text: str, names: dict[str, str]) -> BudgetToken:
  if kind == "number":
    return BudgetToken("number", text, text, float(text.replace(",", "").replace("_", "")))
  if kind == "power":
    return BudgetToken("number", text, text, float("1e" + re.split(r"\^|\*\*", text)[1]))
  if kind == "device":
    key = re.sub(r"^(nvidia|amd|google)|[\s-]", "", text.lower())
    longest = max((name for name in names if key.startswith(name)), key=len)
    return BudgetToken("device", text, names[longest])
  return BudgetToken(kind, text, text.lower())
