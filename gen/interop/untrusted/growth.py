"""The factor by which a tokenizer's components can lengthen a text. Uses the standard library alone.

A component that replaces a letter by "<newline>" lengthens a text of such letters nine times, and a second component
that replaces "e" lengthens the result again. So the output of each component passes through all that follow.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from gen.interop.untrusted import patterns

_COPIES = 3  # consecutive copies, so that matches across two copies count
_STOP = 1 << 16  # characters; longer texts are not lengthened any further


class _GrowthStage(NamedTuple):
  """One component.

  Attributes:
    begins: the longest replacement of `width` characters.
    width: number of replaced characters.
    apply: lengthens a text at least as much as the component does.
  """

  begins: str
  width: int
  apply: Callable[[str], str]


def growth_factor(parts: list[dict[str, object]]) -> float:
  """Returns the largest factor found, for components in their order; checked by `patterns.check_pattern` before.

  >>> growth_factor([{"type": "Replace", "pattern": {"String": "a"}, "content": "bb"}] * 9)
  2.0
  >>> growth_factor([{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 9)
  512.0
  """
  stages = [_stage(part) for part in parts]
  longest = 1.0
  for number, stage in enumerate(stages):
    text, already = (stage.begins[: _STOP + 1]) * _COPIES, _COPIES * stage.width
    for later in stages[number + 1 :]:
      if len(text) > _STOP:
        break
      text = later.apply(text)
    longest = max(longest, len(text) / already)
  return longest


def _stage(part: dict[str, object]) -> _GrowthStage:
  pattern, content = part.get("pattern"), part.get("content")
  if part.get("type") == "ByteLevel":
    return _GrowthStage("\N{LATIN SMALL LETTER E WITH ACUTE}" * 2, 1, lambda text: text * 2)
  if part.get("type") != "Replace" or not isinstance(pattern, dict) or not isinstance(content, str):
    return _GrowthStage("a", 1, lambda text: text)
  if isinstance(pattern.get("Regex"), str):
    return _of_regex(pattern["Regex"], content)
  find = str(pattern.get("String", ""))
  if not find:  # between any two letters
    return _GrowthStage(
      f"a{content}", 1, lambda text: content.join(text) if len(content) < _STOP else content
    )
  return _GrowthStage(content, len(find), lambda text: text.replace(find, content))


def _of_regex(regex: str, content: str) -> _GrowthStage:
  min_length = patterns.check_pattern(regex)
  begins, width = (content, min_length) if min_length else (f"a{content}", 1)
  try:
    compiled = re.compile(regex)
  except (re.error, OverflowError, RecursionError):  # syntax of Oniguruma alone: assume that anything matches
    factor = max(1, -(-len(begins) // width))
    return _GrowthStage(begins, width, lambda text: text * min(factor, _STOP))
  return _GrowthStage(begins, width, lambda text: compiled.sub(lambda _: content, text))
