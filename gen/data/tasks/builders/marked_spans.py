"""Texts whose entities are marked by the places of their characters, as annotation tools write them.

    {"text": "Anna lives in Bonn", "entities": [{"start": 0, "end": 4, "label": "PER"}]}
    {"text": "Anna lives in Bonn", "label": [[0, 4, "PER"], [14, 18, "LOC"]]}

A place is counted in characters from 0, and an end is the place after the last character. Tokens are words and single
marks; a place inside a word splits it. In scripts without spaces each character is a token. Tags are IOB2.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from gen.data.tasks import words
from gen.data.tasks.builders.placed import read_list
from gen.data.tasks.records.record import Record
from gen.errors import UserError

_BEGINS = ("start", "start_offset", "begin", "start_char")
_ENDS = ("end", "end_offset", "end_char")
_NAMES = ("label", "type", "tag", "entity", "entity_type", "entity_group", "labels")


def has_marks(records: Sequence[Record], fields: Mapping[str, str]) -> bool:
  """Returns whether the tags of any record are entities with places."""
  for record in records:
    tags = record.values.get(fields["tags"])
    if isinstance(tags, Sequence) and not isinstance(tags, str | bytes) and tags:
      return isinstance(tags[0], Mapping) or (
        isinstance(tags[0], Sequence) and not isinstance(tags[0], str | bytes)
      )
  return False


def as_tokens(record: Record, fields: Mapping[str, str]) -> tuple[Record, int]:
  """Returns a record with tokens and tags in IOB2, and how many of its entities begin or end inside a word.

  Raises:
    UserError: for an entity without a place or a label, outside its text, of spaces alone, or within another.
  """
  text = record.values.get(fields["tokens"])
  if not isinstance(text, str):
    raise UserError(
      f"{record.where}: entities with places need a text (column {fields['tokens']!r}); give it as text"
    )
  entities = read_list(record, fields["tags"], "entities")
  spans = sorted(
    _read_span(entity, text, f"{record.where}, entity {number}") for number, entity in enumerate(entities, 1)
  )
  for (_, before, name), (begin, _, other) in itertools.pairwise(spans):
    if begin < before:
      raise UserError(
        f"{record.where}: the entities {name} and {other} overlap at {begin}; a token has one tag"
      )
  tokens: list[str] = []
  tags: list[str] = []
  at = 0
  for begin, end, label in spans:
    _add(tokens, tags, text[at:begin], "")
    _add(tokens, tags, text[begin:end], label)
    at = end
  _add(tokens, tags, text[at:], "")
  cut = sum(_is_inside(text, begin) or _is_inside(text, end) for begin, end, _ in spans)
  return record._replace(values={**record.values, fields["tokens"]: tokens, fields["tags"]: tags}), cut


def _is_inside(text: str, place: int) -> bool:
  """Returns whether a word goes on over a place."""
  pair = text[max(place - 1, 0) : place + 1]
  return len(pair) == 2 and words.WORDS.fullmatch(pair) is not None


def _add(tokens: list[str], tags: list[str], part: str, label: str) -> None:
  found = words.WORDS.findall(part)
  tokens += found
  tags += [f"{'I' if number else 'B'}-{label}" if label else "O" for number in range(len(found))]


def _read_span(entity: Any, text: str, where: str) -> tuple[int, int, str]:
  """Returns the begin, the end and the label of an entity, without spaces at its ends."""
  if isinstance(entity, Mapping):
    parts = [next((entity[key] for key in keys if key in entity), None) for keys in (_BEGINS, _ENDS, _NAMES)]
  else:
    parts = list(entity) if isinstance(entity, Sequence) and not isinstance(entity, str) else []
  begin, end, label = parts if len(parts) == 3 else (None, None, None)
  if isinstance(label, list) and len(label) == 1:
    label = label[0]
  if (
    isinstance(begin, bool) or not isinstance(begin, int) or isinstance(end, bool) or not isinstance(end, int)
  ):
    raise UserError(f"{where}: it is {str(entity)[:60]}; write its start, its end and its label")
  if not isinstance(label, str) or not label.strip():
    raise UserError(f"{where}: its label is {label!r}; write a name, such as PER")
  if not 0 <= begin < end <= len(text):
    raise UserError(
      f"{where}: it is from {begin} to {end}, and the text has {len(text)} characters; correct the places"
    )
  marked = text[begin:end]
  begin, end = begin + len(marked) - len(marked.lstrip()), end - len(marked) + len(marked.rstrip())
  if begin >= end:
    raise UserError(f"{where}: it marks spaces alone; correct its places, or remove it")
  return begin, end, label.strip()
