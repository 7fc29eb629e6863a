"""Dialogues of instruction tuning, from records in the usual forms.

| form | fields |
|---|---|
| messages | messages: a list of {role, content} |
| ShareGPT | conversations: a list of {from, value} |
| Alpaca | instruction, input (may be empty), output |
| pairs | prompt, completion; also response or answer; texts, or lists of messages |
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gen.data.tasks.builders.placed import Built, Placed, read_text, require_encodable
from gen.data.tasks.examples import DialogueExample, Message
from gen.data.tasks.records.record import Record
from gen.errors import UserError
from gen.io.json_reading import describe_kind, require_kind

_ROLES = {
  "system": "system developer",
  "user": "user human prompter",
  "assistant": "assistant gpt bot model chatgpt",
}
_PROMPTS = ("prompt", "instruction", "question", "input")
_COMPLETIONS = ("completion", "response", "output", "answer")
FIELDS = ("messages", "conversations", "conversation", *_PROMPTS, *_COMPLETIONS, "system")


def build_dialogues(records: Sequence[Record], columns: Mapping[str, str], where: str) -> Built:
  """Returns dialogues.

  Raises:
    UserError: for a form that is not known, an unknown role, an empty message, or a dialogue without an answer.
  """
  for field, column in columns.items():
    if field not in FIELDS:
      raise UserError(f"instruct has no field {field!r}; its fields are {', '.join(FIELDS)}")
    if column not in records[0].values:
      raise UserError(f"{where}: no column {column!r}, which you named for {field}")
  renamed = {column: field for field, column in columns.items()}
  placed: list[Placed] = []
  forms: dict[str, int] = {}
  for record in records:
    values = {renamed.get(name, name): value for name, value in record.values.items()}
    form, messages = _read_messages(record._replace(values=values))
    forms[form] = forms.get(form, 0) + 1
    _check_messages(messages, record.where)
    placed.append(Placed(DialogueExample(tuple(messages), record.document), record.where, record.part))
  notes = [f"{count:,} dialogues are read as {form}" for form, count in forms.items()]
  return Built(placed, (), notes)


def _read_messages(record: Record) -> tuple[str, list[Message]]:
  values = record.values
  for name in ("messages", "conversations", "conversation"):
    if values.get(name):
      listed = require_kind(values[name], list, f"{record.where}: {name}")
      return name, [
        _read_message(item, f"{record.where}, message {index}") for index, item in enumerate(listed, 1)
      ]
  prompt = next((name for name in _PROMPTS if name in values), "")
  completion = next((name for name in _COMPLETIONS if name in values), "")
  if not prompt or not completion:
    listed = ", ".join(map(repr, list(values)[:12])) or "no fields"
    raise UserError(
      f"{record.where}: it has {listed}; a dialogue needs messages, conversations, prompt and completion,"
      " or instruction, input and output"
    )
  first = (
    [Message("system", values["system"])]
    if isinstance(values.get("system"), str) and values["system"]
    else []
  )
  if isinstance(values[prompt], list) or isinstance(values[completion], list):
    turns = [*_as_turns(values[prompt], "user"), *_as_turns(values[completion], "assistant")]
    return f"{prompt} and {completion}", first + [
      _read_message(item, f"{record.where}, message {index}") for index, item in enumerate(turns, 1)
    ]
  question = read_text(record, prompt, prompt)
  extra = next((name for name in ("input", "context") if prompt == "instruction" and values.get(name)), "")
  if extra:
    question += "\n\n" + read_text(record, extra, extra)
  answer = read_text(record, completion, completion)
  form = "instruction, input and output" if prompt == "instruction" else f"{prompt} and {completion}"
  return form, [*first, Message("user", question), Message("assistant", answer)]


def _as_turns(value: Any, role: str) -> list[Any]:
  return value if isinstance(value, list) else [{"role": role, "content": value}]


def _read_message(item: Any, where: str) -> Message:
  require_kind(item, dict, where)
  word = item.get("role", item.get("from"))
  content = item.get("content", item.get("value"))
  if not isinstance(word, str):
    raise UserError(f"{where}: it has no role; write {{'role': 'user', 'content': ...}}")
  role = next((role for role, words in _ROLES.items() if word.lower() in words.split()), "")
  if not role:
    raise UserError(f"{where}: the role is {word[:40]!r}; known are system, user and assistant")
  if not isinstance(content, str):
    raise UserError(f"{where}: the content is {describe_kind(content)}; it must be text")
  require_encodable(content, f"{where}: the content")
  return Message(role, content)


def _check_messages(messages: Sequence[Message], where: str) -> None:
  for index, message in enumerate(messages, 1):
    if not message.content.strip():
      raise UserError(f"{where}, message {index}: the content of the {message.role} is empty")
  if all(message.role != "assistant" for message in messages):
    raise UserError(f"{where}: no message of the assistant, so there is nothing to learn; remove the row")
  if messages[0].role == "assistant" or all(message.role != "user" for message in messages):
    raise UserError(f"{where}: the assistant speaks without a question of the user; begin with one")
