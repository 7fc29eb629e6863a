"""Tagging schemes of spans: IOB1, IOB2, IOE1, IOE2, BIOES and BILOU, told or detected, converted to IOB2.

| scheme | a span of three, alone | a span of one, alone | when B- or E- is used in IOB1 and IOE1 |
|---|---|---|---|
| IOB1 | I I I | I | B- opens a span right after another of its type |
| IOB2 | B I I | B | |
| IOE1 | I I I | I | E- closes a span right before another of its type |
| IOE2 | I I E | E | |
| BIOES | B I E | S | |
| BILOU | B I L | U | |

Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999 (cs/9907006).
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

SCHEMES = ("IOB1", "IOB2", "IOE1", "IOE2", "BIOES", "BILOU")
OUTSIDE = "O"
_PREFIXES = {"IOB1": "BI", "IOB2": "BI", "IOE1": "IE", "IOE2": "IE", "BIOES": "BIES", "BILOU": "BILU"}
_TAG = re.compile(r"([BIESLU])-(.+)", re.S)


class Span(NamedTuple):
  """A labelled span of tokens, from start to end inclusive."""

  label: str
  start: int
  end: int


@dataclasses.dataclass(frozen=True)
class TagFault:
  """A tag that its scheme does not allow there."""

  index: int
  reason: str


def split_tag(tag: str) -> tuple[str, str]:
  """Returns (prefix, label) of a tag; the prefix is O outside, and empty for a class without one.

  >>> split_tag("B-PER"), split_tag("O"), split_tag("NN")
  (('B', 'PER'), ('O', ''), ('', 'NN'))
  """
  if tag == OUTSIDE:
    return OUTSIDE, ""
  matched = _TAG.fullmatch(tag)
  return (matched[1], matched[2]) if matched else ("", tag)


def has_spans(sequences: Sequence[Sequence[str]]) -> bool:
  """Returns whether all tags are O or have the prefix of a scheme; otherwise they are plain classes."""
  prefixes = {split_tag(tag)[0] for tags in sequences for tag in tags}
  return "" not in prefixes and prefixes != {OUTSIDE}


def read_spans(tags: Sequence[str], scheme: str) -> tuple[list[Span], list[TagFault]]:
  """Returns the spans of a sequence, and the tags that the scheme does not allow.

  A tag that is not allowed continues or opens a span as conlleval reads it, so spans are as complete as they can be.

  >>> read_spans(["I-PER", "B-PER", "I-LOC"], "IOB1")[0]
  [Span(label='PER', start=0, end=0), Span(label='PER', start=1, end=1), Span(label='LOC', start=2, end=2)]
  """
  pairs = [split_tag(tag) for tag in tags]
  spans: list[Span] = []
  faults: list[TagFault] = []
  begin = -1
  for index, (prefix, label) in enumerate(pairs):
    if prefix not in (OUTSIDE, *_PREFIXES[scheme]):
      faults.append(TagFault(index, f"the prefix of {tags[index]!r} is not one of {scheme}"))
    before = pairs[index - 1] if index else (OUTSIDE, "")
    after = pairs[index + 1] if index + 1 < len(pairs) else (OUTSIDE, "")
    if prefix == OUTSIDE:
      continue
    if _opens(before, (prefix, label)):
      begin = index
    reason = _find_fault(before, (prefix, label), after, scheme)
    if reason:
      faults.append(TagFault(index, f"{tags[index]!r} {reason}"))
    # A span ends where the next tag opens another one, or is outside.
    if _opens((prefix, label), after) or after[0] == OUTSIDE:
      spans.append(Span(label, begin, index))
  return spans, faults


def _opens(before: tuple[str, str], tag: tuple[str, str]) -> bool:
  """Returns whether a span opens at `tag`: the one before has ended, or this one begins."""
  return before[0] == OUTSIDE or before[1] != tag[1] or before[0] in "ESLU" or tag[0] in "BSU"


def _find_fault(before: tuple[str, str], tag: tuple[str, str], after: tuple[str, str], scheme: str) -> str:
  """Returns why a scheme does not allow a tag between its neighbours; empty if it does."""
  prefix, label = tag
  joins_before = before[0] != OUTSIDE and before[1] == label and before[0] not in "ESLU"
  joins_after = after[0] != OUTSIDE and after[1] == label and after[0] not in "BSU"
  same_before = before[0] != OUTSIDE and before[1] == label
  same_after = after[0] != OUTSIDE and after[1] == label
  if scheme == "IOB1" and prefix == "B" and not same_before:
    return "does not follow another span of its type, as B- does in IOB1"
  if scheme == "IOE1" and prefix == "E" and not same_after:
    return "does not precede another span of its type, as E- does in IOE1"
  if scheme in ("IOB2", "BIOES", "BILOU") and prefix in "IEL" and not joins_before:
    return "does not continue a span of its type"
  if scheme in ("IOE2", "BIOES", "BILOU") and prefix in "BI" and not joins_after:
    return "is not continued by a span of its type"
  return ""


def detect_scheme(sequences: Sequence[Sequence[str]]) -> str:
  """Returns the scheme of tags: the one that allows all of them, or else the one with the fewest faults.

  >>> detect_scheme([["I-PER", "I-PER", "O"]]), detect_scheme([["B-PER", "I-PER", "O"]])
  ('IOB1', 'IOB2')
  """
  prefixes = {split_tag(tag)[0] for tags in sequences for tag in tags}
  # Among equals the first wins, and IOB2 is the most common.
  order = ("IOB2", "IOB1", "IOE2", "IOE1", "BIOES", "BILOU")
  # A scheme must have all prefixes that occur; if none has, the richest two are tried.
  able = [scheme for scheme in order if prefixes <= {OUTSIDE, *_PREFIXES[scheme]}] or ["BIOES", "BILOU"]
  counts = {scheme: sum(len(read_spans(tags, scheme)[1]) for tags in sequences) for scheme in able}
  return min(able, key=lambda scheme: counts[scheme])


def as_iob2(spans: Sequence[Span], length: int) -> tuple[str, ...]:
  """Returns the tags of spans in IOB2.

  >>> as_iob2([Span("PER", 0, 1)], 3)
  ('B-PER', 'I-PER', 'O')
  """
  tags = [OUTSIDE] * length
  for span in spans:
    tags[span.start] = f"B-{span.label}"
    for index in range(span.start + 1, span.end + 1):
      tags[index] = f"I-{span.label}"
  return tuple(tags)
