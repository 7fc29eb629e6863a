"""Questions about contexts with answer spans, from records."""

from collections.abc import Mapping, Sequence
from typing import Any

from gen.data.tasks import column_names
from gen.data.tasks.builders.placed import Built, Placed, read_document, read_text
from gen.data.tasks.examples import QuestionExample
from gen.data.tasks.records.record import Record
from gen.errors import UserError
from gen.io import json_reading


def build_questions(records: Sequence[Record], columns: Mapping[str, str], where: str) -> Built:
  """Returns questions; an answer without its start is searched in the context.

  Raises:
    UserError: for columns that are not found, texts that are empty, and spans that do not match their text.
  """
  fields, notes = column_names.find_fields("answer", list(records[0].values), columns, where)
  placed, searched = [], 0
  for record in records:
    context = read_text(record, fields["context"], "context")
    answers, starts = _read_answers(record, fields)
    if answers and not starts:
      starts = [_find_answer(context, answer, record.where) for answer in answers]
      searched += 1
    _check_spans(context, answers, starts, record.where)
    example = QuestionExample(
      read_text(record, fields["question"], "question"),
      context,
      tuple(answers),
      tuple(starts),
      str(record.values.get(fields.get("identifier", ""), "")),
      read_document(record, fields),
    )
    placed.append(Placed(example, record.where, record.part))
  if not any(item.example.answers for item in placed):
    raise UserError(f"{where}: no question has an answer; there is nothing to learn")
  if searched:
    notes.append(
      f"{searched:,} questions give no start; their answers are searched in the context, the first match counts"
    )
  empty = sum(not item.example.answers for item in placed)
  if empty:
    notes.append(f"{empty:,} of {len(placed):,} questions have no answer")
  return Built(placed, (), notes)


def _read_answers(record: Record, fields: Mapping[str, str]) -> tuple[list[str], list[int]]:
  value: Any = record.values.get(fields["answers"])
  starts: Any = record.values.get(fields["starts"]) if "starts" in fields else None
  if isinstance(value, dict):  # of Hugging Face and TFDS: {"text": [...], "answer_start": [...]}
    value, starts = value.get("text", []), value.get("answer_start", [])
  elif (
    isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
  ):  # as in SQuAD's files
    value, starts = ([item.get(name) for item in value] for name in ("text", "answer_start"))
    starts = [] if all(start is None for start in starts) else starts
  answers = [_read_answer(item, record.where) for item in _as_list(value)]
  numbers = [_read_start(item, record.where) for item in _as_list(starts)]
  if numbers and len(numbers) != len(answers):
    raise UserError(
      f"{record.where}: {len(answers)} answers and {len(numbers)} starts; there must be one an answer"
    )
  return answers, numbers


def _as_list(value: Any) -> list[Any]:
  if hasattr(value, "tolist"):
    value = value.tolist()
  if value is None or value in ("", b""):
    return []
  return list(value) if isinstance(value, (list, tuple)) else [value]


def _read_answer(value: Any, where: str) -> str:
  value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
  if not isinstance(value, str) or not value.strip():
    shown = json_reading.describe_kind(value) if not isinstance(value, str) else "empty"
    raise UserError(f"{where}: an answer is {shown}; give a text, or no answers at all")
  return value


def _read_start(value: Any, where: str) -> int:
  try:
    number = int(value)
    if number != float(value):
      raise ValueError(value)
    return number
  except (TypeError, ValueError, OverflowError):
    raise UserError(f"{where}: the start of an answer is {str(value)[:40]!r}; give a whole number") from None


def _find_answer(context: str, answer: str, where: str) -> int:
  start = context.find(answer)
  if start < 0:
    raise UserError(f"{where}: the answer {answer[:60]!r} does not occur in the context")
  return start


def _check_spans(context: str, answers: Sequence[str], starts: Sequence[int], where: str) -> None:
  for answer, start in zip(answers, starts, strict=True):
    found = context[start : start + len(answer)] if start >= 0 else ""
    if found != answer:
      nearest = context.find(answer)
      hint = f"; the answer stands at {nearest}" if nearest >= 0 else "; the answer is not in the context"
      raise UserError(
        f"{where}: the context has {found[:60]!r} at {start}, but the answer is {answer[:60]!r}{hint}"
      )
