"""Sentences with a tag a token, from records; spans become IOB2."""

from collections.abc import Mapping, Sequence

from gen.data.tasks import column_names, tag_schemes
from gen.data.tasks.builders import marked_spans
from gen.data.tasks.builders.placed import (
  MAX_LABEL,
  Built,
  Placed,
  read_document,
  read_list,
  require_encodable,
)
from gen.data.tasks.examples import TaggedExample
from gen.data.tasks.records.record import Record
from gen.data.tasks.records.table_records import plain_column
from gen.errors import UserError

_SENTENCES = ("sentence", "sentence_id", "sent_id", "sentence_no", "sentence_number", "sentence_idx", "sent")
_MIN_ROWS = 5  # fewer rows of one token may be sentences of one token


def build_tagged(records: Sequence[Record], columns: Mapping[str, str], scheme: str, where: str) -> Built:
  """Returns sentences with tags in IOB2, or with plain classes where tags have no prefixes.

  Args:
    records: with tokens and tags, or with texts and entities that have places.
    columns: names of the columns, by field.
    scheme: one of `tag_schemes.SCHEMES`; empty detects it.
    where: name of the source in errors.

  Raises:
    UserError: for tokens and tags of unequal number, empty tokens, tags that their scheme does not allow, and entities
      without a place in their text.
  """
  if scheme and scheme.upper() not in tag_schemes.SCHEMES:
    raise UserError(
      f"tag_scheme is {scheme!r}; use one of {', '.join(tag_schemes.SCHEMES)}, or leave it empty"
    )
  marked = False
  if set(records[0].values) == {"tokens", "tags"}:
    fields = {"tokens": "tokens", "tags": "tags"}
    notes: list[str] = []
  else:
    fields, notes = column_names.find_fields("tag", list(records[0].values), columns, where)
    if marked_spans.has_marks(records, fields):
      read = [marked_spans.as_tokens(record, fields) for record in records]
      records, marked = [record for record, _ in read], True
      notes.append("entities with places become tags of words and single marks, in IOB2")
      cut = sum(count for _, count in read)
      if cut:
        notes.append(f"warning: {where}: {cut:,} entities begin or end inside a word; check their places")
    elif all(record.values.get(fields["tags"]) == [] for record in records):
      raise UserError(f"{where}: no record has an entity or a tag; there is nothing to learn")
    else:
      records = _group_tokens(records, fields, where)
  sentences = [_read_sentence(record, fields) for record in records]
  tags = [tags for _, tags in sentences]
  if not marked:
    tags, more = _as_iob2(records, tags, scheme.upper(), where)
    notes += more
  placed = [
    Placed(TaggedExample(tokens, converted, read_document(record, fields)), record.where, record.part)
    for record, (tokens, _), converted in zip(records, sentences, tags, strict=True)
  ]
  labels = tuple(sorted({tag for sequence in tags for tag in sequence}))
  if len(labels) < 2:
    raise UserError(f"{where}: all tags are {labels[0]!r}; there is nothing to learn")
  return Built(placed, labels, notes)


def _group_tokens(records: Sequence[Record], fields: Mapping[str, str], where: str) -> Sequence[Record]:
  """Returns the sentences of a table with one token a row, by its column of sentences; other records as they are.

  The name of a sentence may stand in its first row alone, as spreadsheets have it.
  """
  cells = [record.values.get(fields["tokens"]) for record in records]
  if not all(isinstance(cell, str) and len(cell.split()) <= 1 for cell in cells) or len(cells) < _MIN_ROWS:
    return records
  names = [
    name for name in records[0].values if plain_column(name) in _SENTENCES and name not in fields.values()
  ]
  if not names:
    raise UserError(
      f"{where}: each row holds one token, and no column is called sentence_id or sentence;"
      " add one that names each token's sentence, or write CoNLL columns"
    )
  sentences: list[list[Record]] = []
  current = None
  for record in records:
    name = str(record.values.get(names[0]) or "").strip()
    # An empty cell continues the sentence above it.
    if not sentences or (name and name != current):
      sentences.append([])
      current = name
    sentences[-1].append(record)
  return [_join_tokens(rows, fields) for rows in sentences]


def _join_tokens(rows: Sequence[Record], fields: Mapping[str, str]) -> Record:
  first = rows[0]
  values = {name: [row.values.get(name) for row in rows] for name in (fields["tokens"], fields["tags"])}
  others = {name: value for name, value in first.values.items() if name not in values}
  return first._replace(values=others | values)


def _read_sentence(record: Record, fields: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
  tokens = read_list(record, fields["tokens"], "tokens")
  tags = read_list(record, fields["tags"], "tags")
  if len(tokens) != len(tags):
    raise UserError(
      f"{record.where}: {len(tokens)} tokens and {len(tags)} tags; there must be one tag a token"
    )
  if not tokens:
    raise UserError(f"{record.where}: the sentence has no tokens; remove it")
  for index, (token, tag) in enumerate(zip(tokens, tags, strict=True)):
    if not isinstance(token, str) or not token.strip():
      raise UserError(f"{record.where_token(index)}: the token is {token!r}; it must be a word")
    if not isinstance(tag, (str, int)) or not str(tag).strip():
      raise UserError(f"{record.where_token(index)}: the tag of {token[:40]!r} is missing")
    require_encodable(f"{token}{tag}", f"{record.where_token(index)}: the token or its tag")
    if len(str(tag)) > MAX_LABEL:
      raise UserError(f"{record.where_token(index)}: the tag has {len(str(tag)):,} characters")
  return tuple(tokens), tuple(str(tag).strip() for tag in tags)


def _as_iob2(
  records: Sequence[Record], sequences: Sequence[tuple[str, ...]], scheme: str, where: str
) -> tuple[list[tuple[str, ...]], list[str]]:
  if not scheme and not tag_schemes.has_spans(sequences):
    notes = ["tags have no prefixes such as B- and I-, so they are classes of tokens"]
    if any(tag.isdigit() for tag in sequences[0]):
      notes = [f"warning: {where}: tags are numbers; as spans they need names such as B-PER"]
    _require_no_prefixes(records, sequences)
    return list(sequences), notes
  name = scheme or tag_schemes.detect_scheme(sequences)
  how = "told" if scheme else "detected"
  converted = []
  for record, tags in zip(records, sequences, strict=True):
    spans, faults = tag_schemes.read_spans(tags, name)
    if faults:
      raise UserError(
        f"{record.where_token(faults[0].index)}: {faults[0].reason} ({name}, {how});"
        " correct the tag, or tell the scheme of the data as tag_scheme"
      )
    converted.append(tag_schemes.as_iob2(spans, len(tags)))
  return converted, [f"the tagging scheme is {name}, {how}"]


def _require_no_prefixes(records: Sequence[Record], sequences: Sequence[tuple[str, ...]]) -> None:
  """Refuses tags of which most have prefixes: the others are errors."""
  prefixes = [
    (tag_schemes.split_tag(tag)[0], record, index)
    for record, tags in zip(records, sequences, strict=True)
    for index, tag in enumerate(tags)
    if tag != tag_schemes.OUTSIDE
  ]
  bare = [(record, index) for prefix, record, index in prefixes if not prefix]
  if 0 < len(bare) < len(prefixes) / 2:
    record, index = bare[0]
    raise UserError(
      f"{record.where_token(index)}: the tag has no prefix such as B- or I-, which most tags have; correct it"
    )
