"""Rejects regular expressions of a tokenizer.json that can take unbounded time. Uses the standard library alone.

Oniguruma backtracks. A repeated group whose own match may be longer or shorter, or in more ways than one, takes time
exponential in the text: (a+)+, (a|a)*, (a?){30}. Many repetitions in a row take a high power of its length. The
patterns of tokenizers in use have neither.
"""

import re
import warnings
from typing import NamedTuple

MAX_PATTERN = 10_000  # characters; the longest in use list a few hundred letters
MAX_REPEATS = 5  # without a bound, in one branch
MAX_CHOICES = 24  # parts of one branch that may match more than one length
MAX_DEPTH = 12  # of groups
_LONG = 64  # a repetition of more counts as one without a bound
_BRACES = re.compile(r"\{(\d*)(?:(,)(\d*))?\}")
_ESCAPE = re.compile(
  r"\\(?:[pP]\{[^}]*\}|x\{[^}]*\}|x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|[0-7]{1,3}|.)", re.DOTALL
)
_GROUP = re.compile(r"\((?:\?(?:[:=!>]|<[=!]|<\w+>|'\w+'|[a-zA-Z-]+:)|(?!\?))")
_CONTROLS = {"\\n": "\n", "\\r": "\r", "\\t": "\t"}
_FLAGS = re.compile(r"\(\?(?:[a-zA-Z-]+|#[^)]*)\)")


class PatternError(ValueError):
  """A pattern exceeds a limit: one sentence without the pattern."""


class PatternPart(NamedTuple):
  """Properties of the matches of a part of a pattern.

  Attributes:
    min_length: minimum number of characters.
    max_length: maximum number of characters.
    repeats: unbounded repetitions in its worst branch.
    choices: parts of variable length in its worst branch.
    ambiguous: whether alternatives may match the same text.
    first: its only possible first letter, or None.
    last: its only possible last letter, or None.
    signs: the pattern's elements for all its characters.
  """

  min_length: int
  max_length: float
  repeats: int = 0
  choices: int = 0
  ambiguous: bool = False
  first: str | None = None
  last: str | None = None
  signs: tuple[str, ...] = ()


def check_pattern(pattern: str) -> int:
  r"""Returns the minimum number of characters that a pattern matches.

  Raises:
    PatternError: for a pattern that may take unbounded time, or uses unsupported syntax.

  >>> check_pattern(r"'s|[^\s\p{L}]+|\s+(?!\S)")
  1
  >>> check_pattern(r"(\w+\s?)+$")
  Traceback (most recent call last):
    ...
  gen.interop.untrusted.patterns.PatternError: it repeats a group of varying length, or of ...
  """
  if len(pattern) > MAX_PATTERN:
    raise PatternError(f"it has {len(pattern):,} characters, more than {MAX_PATTERN:,}")
  reader = _PatternReader(pattern)
  part = reader.alternatives(0)
  if reader.place < len(pattern):
    raise PatternError("its parentheses are not balanced")
  return part.min_length


class _PatternReader:
  """Reads a pattern of Oniguruma's Ruby syntax."""

  def __init__(self, pattern: str) -> None:
    self.pattern, self.place = pattern, 0

  def alternatives(self, depth: int) -> PatternPart:
    if depth > MAX_DEPTH:
      raise PatternError(f"its groups are nested more than {MAX_DEPTH} deep")
    branches = [self._branch(depth)]
    while self.pattern.startswith("|", self.place):
      self.place += 1
      branches.append(self._branch(depth))
    if len(branches) == 1:
      return branches[0]
    firsts = [branch.first for branch in branches]
    min_length, max_length = (
      min(branch.min_length for branch in branches),
      max(branch.max_length for branch in branches),
    )
    unclear = None in firsts or len(set(firsts)) < len(firsts) or any(branch.ambiguous for branch in branches)
    repeats = max(branch.repeats for branch in branches)
    signs = tuple(sign for branch in branches for sign in branch.signs)
    return PatternPart(
      min_length, max_length, repeats, max(branch.choices for branch in branches), unclear, signs=signs
    )

  def _branch(self, depth: int) -> PatternPart:
    min_length, max_length, repeats, choices, ambiguous = 0, 0.0, 0, 0, False
    first: str | None = None
    last: str | None = None
    signs: tuple[str, ...] = ()
    while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
      part = self._quantified(self._atom(depth))
      first = part.first if max_length == 0 else first
      last = part.last if part.max_length else last
      min_length, max_length, signs = (
        min_length + part.min_length,
        max_length + part.max_length,
        signs + part.signs,
      )
      repeats, choices = repeats + part.repeats, choices + part.choices
      ambiguous |= part.ambiguous
    if repeats > MAX_REPEATS:
      raise PatternError(f"it has more than {MAX_REPEATS} unbounded repetitions in a row")
    if choices > MAX_CHOICES:
      raise PatternError(f"more than {MAX_CHOICES} of its parts in a row vary in length")
    return PatternPart(min_length, max_length, repeats, choices, ambiguous, first, last, signs)

  def _atom(self, depth: int) -> PatternPart:
    letter = self.pattern[self.place]
    if letter == "\\":
      return self._escape()
    if letter == "[":
      begin = self.place
      self._class()
      return PatternPart(1, 1, signs=(self.pattern[begin : self.place],))
    if letter == "(":
      return self._group(depth)
    self.place += 1
    if letter in "^$":
      return PatternPart(0, 0)
    literal = None if letter == "." else letter
    return PatternPart(1, 1, first=literal, last=literal, signs=(letter,))

  def _escape(self) -> PatternPart:
    matched = _ESCAPE.match(self.pattern, self.place)
    if not matched:
      raise PatternError("it ends in a backslash")
    text = matched.group()
    if text[1] in "123456789kg":
      raise PatternError("it refers to an earlier group, which tokenizers do not need")
    self.place = matched.end()
    if text[1] in "bBAZzGK":
      return PatternPart(0, 0)
    max_length = float("inf") if text == "\\X" else 2.0 if text == "\\R" else 1.0
    literal = _CONTROLS.get(text, text[1] if len(text) == 2 and not text[1].isalnum() else None)
    return PatternPart(1, max_length, first=literal, last=literal, signs=(literal or text,))

  def _class(self) -> None:
    """Skips a character class, which may be nested."""
    depth, position = 0, self.place
    while position < len(self.pattern):
      letter = self.pattern[position]
      if letter == "\\":
        position += 1
      elif letter == "[":
        depth += 1
        position += self.pattern.startswith("^", position + 1)
        position += self.pattern.startswith("]", position + 1)  # a bracket in first position is a literal
      elif letter == "]":
        depth -= 1
        if not depth:
          self.place = position + 1
          return
      position += 1
    raise PatternError("its square brackets are not balanced")

  def _group(self, depth: int) -> PatternPart:
    flags = _FLAGS.match(self.pattern, self.place)
    if flags:
      self.place = flags.end()
      return PatternPart(0, 0)
    opened = _GROUP.match(self.pattern, self.place)
    if not opened:
      raise PatternError("it has a group of a kind that tokenizers do not need")
    self.place = opened.end()
    inside = self.alternatives(depth + 1)
    if not self.pattern.startswith(")", self.place):
      raise PatternError("its parentheses are not balanced")
    self.place += 1
    if opened.group() in ("(?=", "(?!", "(?<=", "(?<!"):
      return PatternPart(0, 0, inside.repeats, inside.choices)
    if opened.group() == "(?>":  # atomic: matches in one way only
      return PatternPart(inside.min_length, inside.min_length, inside.repeats, signs=inside.signs)
    return inside

  def _quantified(self, part: PatternPart) -> PatternPart:
    while self.place < len(self.pattern):
      min_repeats, max_repeats, length = self._quantifier()
      if not length:
        return part
      sign = self.pattern[self.place]
      self.place += length
      possessive = sign in "*+?" and self.pattern.startswith("+", self.place)
      lazy = self.pattern.startswith("?", self.place)
      self.place += possessive or lazy
      part = _repeated(part, min_repeats, max_repeats, possessive)
    return part

  def _quantifier(self) -> tuple[int, float, int]:
    """Returns the minimum and maximum repetitions, and the length of the quantifier, 0 for none."""
    signs = {"*": (0, float("inf"), 1), "+": (1, float("inf"), 1), "?": (0, 1.0, 1)}
    sign = self.pattern[self.place]
    if sign in signs:
      return signs[sign]
    braces = _BRACES.match(self.pattern, self.place)
    if not braces or not (braces.group(1) or braces.group(3)):
      return 0, 0, 0
    min_repeats = int(braces.group(1) or 0)
    max_repeats = float(braces.group(3) or "inf") if braces.group(2) else float(min_repeats)
    if max(min_repeats, max_repeats if max_repeats < float("inf") else 0) > 100_000:
      raise PatternError("it repeats more than 100,000 times")
    return min_repeats, max_repeats, len(braces.group())


def _repeated(part: PatternPart, min_repeats: int, max_repeats: float, possessive: bool) -> PatternPart:
  if max_repeats > 1 and (part.ambiguous or (part.min_length != part.max_length and not _delimited(part))):
    raise PatternError(
      "it repeats a group of varying length, or of alternatives that may match the same text, which can take time"
      " exponential in the length of a text"
    )
  varies = min_repeats != max_repeats and not possessive
  longest = part.max_length * max_repeats if part.max_length and max_repeats else 0.0
  return PatternPart(
    part.min_length * min_repeats,
    part.min_length * min_repeats if possessive and not part.min_length else longest,
    part.repeats + (varies and max_repeats > _LONG),
    part.choices + varies,
    part.ambiguous,
    signs=part.signs,
  )


def _delimited(part: PatternPart) -> bool:
  """Returns whether a letter only begins or only ends a part, so that repetitions are unambiguous."""
  begins = part.first is not None and not any(_may_be(sign, part.first) for sign in part.signs[1:])
  return begins or (part.last is not None and not any(_may_be(sign, part.last) for sign in part.signs[:-1]))


def _may_be(sign: str, letter: str) -> bool:
  """Returns whether an element may match a letter; true for syntax that Python's patterns lack."""
  if len(sign) == 1 and sign != ".":
    return sign.lower() == letter.lower()
  try:
    with warnings.catch_warnings(action="error"):  # nested classes differ in Python
      return bool(re.fullmatch(sign, letter, re.IGNORECASE | re.DOTALL))
  except (re.error, Warning):
    return True
