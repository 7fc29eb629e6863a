"""Sentences with a tag a token, from records; spans become IOB2."""

from collections.abc import Mapping, Sequence

from gen.data.tasks import column_names, tag_schemes
from gen.data.tasks.examples import TaggedExample
from gen.data.tasks.placed import MAX_LABEL, Built, Placed, read_document, read_list
from gen.data.tasks.record import Record
from gen.errors import UserError


def build_tagged(records: Sequence[Record], columns: Mapping[str, str], scheme: str, where: str) -> Built:
  """Returns sentences with tags in IOB2, or with plain classes where tags have no prefixes.

  Args:
    records: with tokens and tags.
    columns: names of the columns, by field.
    scheme: one of `tag_schemes.SCHEMES`; empty detects it.
    where: name of the source in errors.

  Raises:
    UserError: for tokens and tags of unequal number, empty tokens, and tags that their scheme does not allow.
  """
  if scheme and scheme.upper() not in tag_schemes.SCHEMES:
    raise UserError(
      f"tag_scheme is {scheme!r}; use one of {', '.join(tag_schemes.SCHEMES)}, or leave it empty"
    )
  if set(records[0].values) == {"tokens", "tags"}:
    fields = {"tokens": "tokens", "tags": "tags"}
    notes: list[str] = []
  else:
    fields, notes = column_names.find_fields("tag", list(records[0].values), columns, where)
  sentences = [_read_sentence(record, fields) for record in records]
  tags, more = _as_iob2(records, [tags for _, tags in sentences], scheme.upper(), where)
  placed = [
    Placed(TaggedExample(tokens, converted, read_document(record, fields)), record.where, record.part)
    for record, (tokens, _), converted in zip(records, sentences, tags, strict=True)
  ]
  labels = tuple(sorted({tag for sequence in tags for tag in sequence}))
  if len(labels) < 2:
    raise UserError(f"{where}: all tags are {labels[0]!r}; there is nothing to learn")
  return Built(placed, labels, [*notes, *more])


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
