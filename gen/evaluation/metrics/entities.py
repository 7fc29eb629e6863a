"""Spans in tags as seqeval reads them, by default and in its strict mode.

By default spans are those of the CoNLL evaluation: prefixes of every scheme count, and a change of type opens a span.
The strict mode reads one scheme by a table of neighbours, and drops spans that do not end as the scheme prescribes.
"""

from collections.abc import Sequence
from functools import cache

from gen.errors import UserError

Entity = tuple[str, int, int]  # type, first token, token after the last
# Pairs of prefixes that open, continue and close a span: previous, current, and whether types must be equal (=), differ
# (!), or not (*). Under "close" the span ends before the current tag; ? stands for every prefix. The tables are
# seqeval 1.2.2's, with its gaps in IOE1.
_TABLES = {
  "IOB1": ("OI* II! BI* IB= BB=", "BI= II=", "II! IO* IB* BO* BI! BB="),
  "IOB2": ("?B*", "BI= II=", "IO* II! IB* BO* BI! BB*"),
  "IOE1": ("OI* II! EI* EE=", "II= IE=", "II! IO* IE! EI= EE="),
  "IOE2": ("OI* OE* EI* EE* II! IE!", "IE= II=", "E?*"),
  "BIOES": ("?B* ?S*", "BI= BE= II= IE=", "S?* E?*"),
  "BILOU": ("?B* ?U*", "BI= BL= II= IL=", "U?* L?*"),
}
_PREFIXES = {"IOB1": "IOB", "IOB2": "IOB", "IOE1": "IOE", "IOE2": "IOE", "BIOES": "IOBES", "BILOU": "IOBLU"}
_END = ("O", "_")


def find_entities(tags: Sequence[str]) -> list[Entity]:
  """Returns the spans of tags as the CoNLL evaluation reads them.

  >>> find_entities(["B-PER", "I-PER", "O", "I-LOC"])
  [('PER', 0, 2), ('LOC', 3, 4)]
  """
  entities, begin, previous = [], 0, _END
  for index, current in enumerate([*map(_split, tags), _END]):
    if _closes(previous, current):
      entities.append((previous[1], begin, index))
    if _opens(previous, current):
      begin = index
    previous = current
  return entities


def _split(tag: str) -> tuple[str, str]:
  return tag[:1], tag[1:].split("-", maxsplit=1)[-1] or "_"


def _closes(previous: tuple[str, str], current: tuple[str, str]) -> bool:
  before, after = previous[0], current[0]
  if before in "ES" or (before in "BI" and after in "BSO"):
    return True
  return before not in "O." and previous[1] != current[1]


def _opens(previous: tuple[str, str], current: tuple[str, str]) -> bool:
  before, after = previous[0], current[0]
  if after in "BS" or (before + after in ("EE", "EI", "SE", "SI", "OE", "OI")):
    return True
  return after not in "O." and previous[1] != current[1]


@cache
def _neighbours(scheme: str, which: int) -> frozenset[tuple[str, str, bool]]:
  """Returns (previous prefix, current prefix, types are equal) of a table, with ? and * written out."""
  pairs = set()
  for before, after, types in map(tuple, _TABLES[scheme][which].split()):
    for first in list(_PREFIXES[scheme] if before == "?" else before):
      for second in list(_PREFIXES[scheme] if after == "?" else after):
        pairs |= {
          (first, second, equal) for equal in (True, False) if types == "*" or equal == (types == "=")
        }
  return frozenset(pairs)


def find_strict_entities(tags: Sequence[str], scheme: str) -> list[Entity]:
  """Returns the spans that are complete in a scheme.

  Raises:
    UserError: for a prefix that the scheme does not have.

  >>> find_strict_entities(["I-PER", "B-LOC", "I-LOC"], "IOB2")
  [('LOC', 1, 3)]
  """
  pairs = [*(_split_strictly(tag) for tag in tags), _END]
  for tag, (prefix, _) in zip(tags, pairs, strict=False):
    if prefix not in _PREFIXES[scheme]:
      raise UserError(f"the tag {tag!r} has no prefix of {scheme}, which has {', '.join(_PREFIXES[scheme])}")
  opening, inside, closing = (_neighbours(scheme, which) for which in range(3))
  entities = []
  index, previous = 0, _END
  while index < len(pairs):
    if _is_in(opening, previous, pairs[index]):
      end = index + 1
      while _is_in(inside, pairs[end - 1], pairs[end]):
        end += 1
      if _is_in(closing, pairs[end - 1], pairs[end]):
        entities.append((pairs[index][1], index, end))
      index = end
    else:
      index += 1
    previous = pairs[index - 1]
  return entities


def _split_strictly(tag: str) -> tuple[str, str]:
  return tag[:1], tag[1:].strip("-") or "_"


def _is_in(
  table: frozenset[tuple[str, str, bool]], previous: tuple[str, str], current: tuple[str, str]
) -> bool:
  return (previous[0], current[0], previous[1] == current[1]) in table
