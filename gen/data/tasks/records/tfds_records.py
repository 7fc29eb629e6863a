"""Labelled sets of TensorFlow Datasets, such as tfds:glue/sst2, with the columns and splits of the usual ones.

A set must be prepared in TFDS's folder. For a set that is not listed, columns are found by their names, and splits by
theirs. Where the test split has no labels, as in GLUE, the validation split is the test part.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gen.data.sources.tfds_sets import NamedSet, list_splits
from gen.data.tasks.records.record import PARTS, Record, RecordSet, find_part
from gen.errors import UserError

SCHEME = "tfds"


class TfdsPreset(NamedTuple):
  """The columns and splits of a set.

  Attributes:
    columns: names of its features by field.
    splits: names of its splits by part; a missing development part is split from train.
  """

  columns: Mapping[str, str]
  splits: Mapping[str, str]


_VALIDATED = {"train": "train", "test": "validation"}
_TESTED = {"train": "train", "test": "test"}
_THREE = {"train": "train", "development": "validation", "test": "test"}
_PAIR = {"text": "sentence1", "second_text": "sentence2", "label": "label"}
_SQUAD = {
  "question": "question",
  "context": "context",
  "answers": "answers",
  "identifier": "id",
  "document": "title",
}
# Columns of the sets as TensorFlow Datasets names them. GLUE's test labels are not public, so the validation part
# tests.
PRESETS = {
  "glue/cola": TfdsPreset({"text": "sentence", "label": "label"}, _VALIDATED),
  "glue/sst2": TfdsPreset({"text": "sentence", "label": "label"}, _VALIDATED),
  "glue/mrpc": TfdsPreset(_PAIR, _VALIDATED),
  "glue/rte": TfdsPreset(_PAIR, _VALIDATED),
  "glue/wnli": TfdsPreset(_PAIR, _VALIDATED),
  "glue/stsb": TfdsPreset(
    {"text": "sentence1", "second_text": "sentence2", "label_value": "label"}, _VALIDATED
  ),
  "glue/qqp": TfdsPreset({"text": "question1", "second_text": "question2", "label": "label"}, _VALIDATED),
  "glue/qnli": TfdsPreset({"text": "question", "second_text": "sentence", "label": "label"}, _VALIDATED),
  "glue/mnli": TfdsPreset(
    {"text": "premise", "second_text": "hypothesis", "label": "label"},
    {"train": "train", "test": "validation_matched"},
  ),
  "ag_news_subset": TfdsPreset({"text": "description", "label": "label"}, _TESTED),
  "imdb_reviews": TfdsPreset({"text": "text", "label": "label"}, _TESTED),
  "conll2003": TfdsPreset({"tokens": "tokens", "tags": "ner"}, _THREE | {"development": "dev"}),
  "wikiann": TfdsPreset({"tokens": "tokens", "tags": "tags"}, _THREE),
  "wmt16_translate": TfdsPreset({}, _THREE),
  "xsum": TfdsPreset({"source": "document", "target": "summary"}, _THREE),
  "cnn_dailymail": TfdsPreset({"source": "article", "target": "highlights"}, _THREE),
  "squad": TfdsPreset(_SQUAD, _VALIDATED),
}


def read_tfds(name: str) -> RecordSet:
  """Returns the records of a prepared set, with names in place of numbers of classes.

  Raises:
    UserError: if there is no such set, or it has not been prepared.
  """
  base = name.partition(":")[0]
  preset = PRESETS.get(base) or PRESETS.get(base.partition("/")[0])
  columns = dict(preset.columns) if preset else {}
  if base.startswith("wmt16_translate/"):  # the config names the two languages, such as de-en
    columns["source"], _, columns["target"] = base.partition("/")[2].partition("-")
  try:
    splits = preset.splits if preset else _find_splits(name)
    records, notes = [], []
    for part in PARTS:
      if part in splits:
        opened = NamedSet(name, splits[part])
        records += list(_read_split(opened, name, part))
        notes.append(f"{opened.full_name}: the split {splits[part]!r} is taken for {part}")
  except UserError as error:
    raise UserError(str(error).replace("data.corpus ", "", 1)) from None
  if not records:
    raise UserError(f"tfds:{name}: it has no records")
  return RecordSet(records, columns, "", notes)


def _find_splits(name: str) -> dict[str, str]:
  """Returns the splits of a set by the parts that their names tell."""
  listed = list_splits(name)
  if not listed:
    return {"train": "train"}  # opening it says how to prepare the set
  found: dict[str, str] = {}
  for split in listed:
    part = find_part(split)
    if part:
      found.setdefault(part, split)
  if "train" not in found:
    raise UserError(f"tfds:{name}: no split is called train (it has {', '.join(listed)})")
  return found


def _read_split(opened: NamedSet, name: str, part: str) -> Iterator[Record]:
  where = f"tfds:{name}/{opened.split}"
  for index, record in enumerate(opened.records()):
    values = {key: _plain_value(value, opened.features[key]) for key, value in record.items()}
    yield Record(f"{where}:{index}", values, part=part, file=where)


def _plain_value(value: Any, feature: Any) -> Any:
  """Returns a feature's value as texts, numbers, lists and objects; numbers of classes become their names."""
  if isinstance(value, dict):
    inner = getattr(feature, "feature", feature)
    return {key: _plain_value(item, inner[key]) for key, item in value.items()}
  inner = getattr(feature, "feature", feature)
  if hasattr(value, "tolist"):
    value = value.tolist()
  if isinstance(value, (list, tuple)):
    return [_plain_value(item, inner) for item in value]
  if isinstance(value, bytes):
    return value.decode("utf-8", "replace")
  names = getattr(inner, "names", None)
  if names and isinstance(value, int):
    return names[value] if 0 <= value < len(names) else None
  return value
