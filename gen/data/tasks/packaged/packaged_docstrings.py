"""Summaries and questions from the docstrings of installed packages, by the rules of the environment corpus.

A docstring's first line summarizes its body. Descriptions of parameters answer what a parameter is:

    Args:                                    Parameters
        axis (int): The axis to sum over.    ----------
                                             axis : int
                                                 The axis to sum over.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from gen.data.sources.python_packages import docstrings, environment
from gen.io import cores

_MIN_BODY, _MAX_BODY = 100, 6_000  # characters
_MIN_SUMMARY, _MAX_SUMMARY = 3, 30  # words
_MIN_ANSWER, _MAX_ANSWER = 2, 40  # words
_HEADING = re.compile(r"^(\s*)(Args|Arguments|Parameters)\b:?\s*$")
_END = re.compile(
  r"^\s*(Returns?|Yields?|Raises|Notes?|Examples?|See Also|References|Attributes|Warnings?|Other Parameters)\b:?\s*$"
)
_GOOGLE = re.compile(r"^(\s+)(\*{0,2}\w+)(?:\s*\([^)\n]*\))?\s*:[ \t]+(\S.*)$")
_NUMPY = re.compile(r"^(\s*)(\*{0,2}\w+)\s+:\s*\S.*$")


class Described(NamedTuple):
  """A parameter with the span of its description."""

  name: str
  start: int
  end: int


def _docstrings() -> Iterator[tuple[str, str]]:
  """Yields (file, docstring), each text once."""
  named = environment.python_files()
  found = docstrings.docstrings_of_files([str(path) for _, path in named], cores.available_cores())
  seen: set[str] = set()
  for (name, _), texts in zip(named, found, strict=True):
    for text in texts:
      if text and text not in seen and environment.is_encodable(text):
        seen.add(text)
        yield name, text


def read_summaries() -> Iterator[dict[str, str]]:
  """Yields bodies of docstrings with their first lines."""
  for name, text in _docstrings():
    summary, _, body = text.partition("\n\n")
    summary, body = summary.strip(), body.strip()
    words = len(summary.split())
    if "\n" in summary or not summary.endswith(".") or not _MIN_SUMMARY <= words <= _MAX_SUMMARY:
      continue
    if _MIN_BODY <= len(body) <= _MAX_BODY:
      yield {"source": body, "target": summary, "document": name}


def read_parameters() -> Iterator[dict[str, Any]]:
  """Yields questions about parameters with the spans of their descriptions."""
  for name, text in _docstrings():
    if len(text) > _MAX_BODY:
      continue
    described = find_parameters(text)
    for parameter in described:
      if sum(other.name == parameter.name for other in described) == 1:
        yield {
          "question": f"What is the parameter {parameter.name.lstrip('*')}?",
          "context": text,
          "answers": [text[parameter.start : parameter.end]],
          "starts": [parameter.start],
          "document": name,
        }


def find_parameters(text: str) -> list[Described]:
  r"""Returns the parameters that a docstring describes.

  >>> text = "Sums.\n\nArgs:\n  axis: The axis\n    to sum over.\n  out: The result.\n"
  >>> [text[each.start : each.end] for each in find_parameters(text)]
  ['The axis\n    to sum over.', 'The result.']
  """
  lines = text.split("\n")
  offsets = [0]
  for line in lines:
    offsets.append(offsets[-1] + len(line) + 1)
  described, inside, number = [], False, 0
  while number < len(lines):
    line = lines[number]
    if _HEADING.match(line):
      inside = True
    elif _END.match(line) or (
      inside and line and not line[0].isspace() and not _NUMPY.match(line) and line.strip("-")
    ):
      inside = False
    matched = (_GOOGLE.match(line) or _NUMPY.match(line)) if inside else None
    number += 1
    if matched is None:
      continue
    last = number
    while last < len(lines) and lines[last].strip() and _indent(lines[last]) > len(matched[1]):
      last += 1
    start = offsets[number - 1] + matched.start(3) if matched.re is _GOOGLE else offsets[number]
    span = text[start : offsets[last] - 1]
    start += len(span) - len(span.lstrip())
    answer = span.strip()
    if _MIN_ANSWER <= len(answer.split()) <= _MAX_ANSWER:
      described.append(Described(matched[2], start, start + len(answer)))
    number = last
  return described


def _indent(line: str) -> int:
  return len(line) - len(line.lstrip())
