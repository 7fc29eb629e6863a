"""Pairs of source and target, from records."""

from collections.abc import Mapping, Sequence

from gen.data.tasks import column_names
from gen.data.tasks.builders.placed import Built, Placed, read_document, read_text
from gen.data.tasks.examples import PairExample
from gen.data.tasks.records.record import Record

_NESTED = "translation"  # a field of Hugging Face's sets: an object of two languages


def build_pairs(task: str, records: Sequence[Record], columns: Mapping[str, str], where: str) -> Built:
  """Returns pairs of texts for translation or summarization.

  Raises:
    UserError: for columns that are not found, and texts that are empty or too long.
  """
  if isinstance(records[0].values.get(_NESTED), dict):
    records = [_flatten(record) for record in records]
  fields, notes = column_names.find_fields(task, list(records[0].values), columns, where)
  placed = []
  for record in records:
    source = read_text(record, fields["source"], "source")
    target = read_text(record, fields["target"], "target")
    example = PairExample(source, target, read_document(record, fields))
    placed.append(Placed(example, record.where, record.part))
  return Built(placed, (), notes)


def _flatten(record: Record) -> Record:
  nested = record.values.get(_NESTED)
  others = {name: value for name, value in record.values.items() if name != _NESTED}
  return record._replace(values=nested | others) if isinstance(nested, dict) else record
