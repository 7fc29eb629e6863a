"""Finds the columns of texts, labels and others in labelled data by their usual names.

A name that the user gives wins, then exact names in the order below, then names that hold one of them as a word, such
as airline_sentiment. Names compare without case, spaces and punctuation.
"""

import difflib
from collections.abc import Mapping, Sequence

from gen.data.tasks.records.table_records import plain_column
from gen.errors import UserError

_DOCUMENT = "document doc document_id doc_id group group_id filename file_name file"
_SPLIT = "split fold partition part set subset"
_ROLES = {  # of each task: field -> usual names, in order of preference
  "classify": {
    "text": "text sentence sentence1 sentence_1 text1 text_a premise question1 review content body comment tweet"
    " message utterance headline title query question description abstract post document article extract input",
    "second_text": "second_text sentence2 sentence_2 text2 text_b hypothesis question2 text_pair",
    "label": "label class target category sentiment labels topic intent emotion polarity gold_label gold rating stars"
    " genre tag type final_decision y output",
    "label_value": "label_value score similarity similarity_score value",
  },
  "tag": {
    "tokens": "tokens words token word sentence text form",
    "tags": "tags ner_tags ner labels iob_tags bio_tags entities pos_tags upos tag label",
  },
  "translate": {
    "source": "source src input source_text text en english",
    "target": "target tgt trg output translation translated target_text",
  },
  "summarize": {
    "source": "document article source text body content dialogue story passage report extract maintext input abstract",
    "target": "summary highlights target abstract headline title description output tldr",
  },
  "answer": {
    "question": "question query",
    "context": "context contexts passage paragraph document text",
    "answers": "answers answer answer_text",
    "starts": "starts answer_start answer_starts start start_position",
    "identifier": "identifier id qid question_id",
  },
}
_LANGUAGES = (
  "english german french spanish italian portuguese dutch russian polish czech swedish danish finnish turkish arabic"
  " chinese japanese korean hindi vietnamese ukrainian greek romanian hungarian"
)
_CODES = "en de fr es it pt nl ru pl cs sv da fi tr ar zh ja ko hi vi uk el ro hu"
_OPTIONAL = ("second_text", "label_value", "starts", "identifier", "document", "split")
_SHOWN = 30  # columns that an error lists; chosen: a few lines of names


def known_names(task: str) -> set[str]:
  """Returns the names by which a first row of names is recognized."""
  roles = _ROLES.get(task, {})
  languages = f"{_LANGUAGES} {_CODES}" if task == "translate" else ""
  return {name for names in (*roles.values(), _DOCUMENT, _SPLIT, languages) for name in names.split()}


def find_fields(
  task: str, names: Sequence[str], columns: Mapping[str, str], where: str
) -> tuple[dict[str, str], list[str]]:
  """Returns the column of each field that a table has, and a sentence for each that was taken by its name.

  Args:
    task: classify, tag, translate, summarize or answer.
    names: of the columns.
    columns: names that the user or the source gave, by field.
    where: name of the table in errors.

  Raises:
    UserError: for a column that is absent; it lists all columns and the nearest.
  """
  roles = _ROLES[task] | {"document": _DOCUMENT, "split": _SPLIT}
  unknown = [field for field in columns if field not in roles]
  if unknown:
    raise UserError(f"{task} has no field {unknown[0]!r}; its fields are {', '.join(roles)}")
  chosen = {field: _told(field, column, names, where) for field, column in columns.items() if column}
  for exact in (True, False):
    for field, usual in roles.items():
      if field == "split" or field in columns or field in chosen or (not exact and field in _OPTIONAL):
        continue
      column = _match(usual.split(), [name for name in names if name not in chosen.values()], exact)
      if column is not None:
        chosen[field] = column
  if task in ("translate", "summarize"):
    _choose_pair(chosen, names, columns)
  if "label" in chosen and "label_value" not in columns:
    chosen.pop("label_value", None)
  _require_fields(task, roles, chosen, names, where)
  # A column with the field's own name was not guessed.
  notes = [
    f"{chosen[field]!r} is taken for {field}"
    for field in roles
    if field in chosen and field not in columns and plain_column(chosen[field]) != field
  ]
  return chosen, notes


def _told(field: str, column: str, names: Sequence[str], where: str) -> str:
  if column in names:
    return column
  raise UserError(f"{where}: no column {column!r}, which you named for {field}{_describe(column, names)}")


def _match(usual: Sequence[str], names: Sequence[str], exact: bool) -> str | None:
  for word in usual:
    for name in names:
      plain = plain_column(name)
      if plain == word or (not exact and len(word) > 3 and word in plain.split("_")):
        return name
  return None


def _choose_pair(chosen: dict[str, str], names: Sequence[str], columns: Mapping[str, str]) -> None:
  """Takes two columns named by languages, or the only two columns, for source and target in their order."""
  languages = [name for name in names if plain_column(name) in f"{_LANGUAGES} {_CODES}".split()]
  if columns.keys() & {"source", "target"}:
    return
  if len(languages) == 2:
    chosen["source"], chosen["target"] = languages
  elif {"source", "target"} - chosen.keys() and len(names) == 2:
    chosen["source"], chosen["target"] = names


def _require_fields(
  task: str, roles: Mapping[str, str], chosen: Mapping[str, str], names: Sequence[str], where: str
) -> None:
  for field in roles:
    if field in chosen or field in _OPTIONAL or (field == "label" and "label_value" in chosen):
      continue
    usual = ", ".join(roles[field].split()[:5])
    raise UserError(
      f"{where}: no column is called {usual} or another usual name of {field}{_describe(field, names)};"
      f" name it: --columns={field}=COLUMN"
    )
  if task in ("translate", "summarize") and chosen["source"] == chosen["target"]:
    raise UserError(f"{where}: source and target are both the column {chosen['source']!r}")


def _describe(column: str, names: Sequence[str]) -> str:
  # 0.6 is difflib's own cutoff; its time is quadratic in the length of a name.
  near = difflib.get_close_matches(column[:80], [name[:80] for name in names], 1, 0.6)
  listed = ", ".join(repr(name[:40]) for name in names[:_SHOWN])
  more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
  return f" (its columns: {listed}{more})" + (f"; the nearest is {near[0]!r}" if near else "")


def find_split(names: Sequence[str]) -> str | None:
  """Returns the column whose name says that it has the part of each row; None if there is none."""
  return _match(_SPLIT.split(), names, True)
