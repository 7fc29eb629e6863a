"""Questions in the JSON of SQuAD v1.1 and v2.0 (arXiv:1606.05250, 1806.03822)."""

from collections.abc import Iterator
from typing import Any

from gen.data.tasks.records.record import Record
from gen.errors import UserError
from gen.io.json_reading import require_field, require_kind


def is_squad(value: Any) -> bool:
  """Returns whether parsed JSON has the form of SQuAD: articles with paragraphs."""
  data = value.get("data") if isinstance(value, dict) else None
  return isinstance(data, list) and bool(data) and isinstance(data[0], dict) and "paragraphs" in data[0]


def read_squad(value: dict[str, Any], where: str) -> Iterator[Record]:
  """Yields one record a question, with its context, answers, starts, identifier and title.

  Raises:
    UserError: for a part that is absent or of another type, with its place.
  """
  for number, article in enumerate(require_field(value, "data", list, where), 1):
    place = f"{where}, article {number}"
    require_kind(article, dict, place)
    title = str(article.get("title") or f"article {number}")
    for index, paragraph in enumerate(require_field(article, "paragraphs", list, place), 1):
      spot = f"{place}, paragraph {index}"
      context = require_field(require_kind(paragraph, dict, spot), "context", str, spot)
      for order, question in enumerate(require_field(paragraph, "qas", list, spot), 1):
        yield _record(question, context, title, f"{spot}, question {order}", where)


def _record(question: Any, context: str, title: str, spot: str, where: str) -> Record:
  require_kind(question, dict, spot)
  identifier = str(question.get("id", ""))
  spot += f" ({identifier})" if identifier else ""
  impossible = require_kind(question.get("is_impossible", False), bool, f"{spot}: is_impossible")
  answers = question.get("answers")
  if answers is None or (not answers and not impossible):
    raise UserError(
      f"{spot}: no answers; a question without an answer needs is_impossible: true, as in SQuAD v2.0"
    )
  listed = [] if impossible else require_kind(answers, list, f"{spot}: answers")
  texts = [require_field(require_kind(each, dict, spot), "text", str, spot) for each in listed]
  starts = [require_field(each, "answer_start", int, spot) for each in listed]
  values = {
    "question": require_field(question, "question", str, spot),
    "context": context,
    "answers": texts,
    "starts": starts,
    "identifier": identifier,
  }
  return Record(spot, values, document=title, file=where)
