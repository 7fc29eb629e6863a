"""Dialogues as rows: a chat template makes a text of each, and what the assistant wrote has loss.

Several dialogues share a row. Each is a segment of its own, so no token attends to another dialogue, and positions
begin anew.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen.config.heads import HeadConfig
from gen.data.tasks.examples import DialogueExample, Message
from gen.errors import UserError
from gen.finetuning import model_inputs
from gen.finetuning.dialogues import chat
from gen.finetuning.dialogues.chat import ChatTemplate
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import text_form
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.generation import special_tokens
from gen.generation.loaded_model import LoadedModel

MAX_NEW = 128  # most tokens of an answer, where settings give none; chosen: a paragraph
# Rows that a dialogue may still join; chosen: bounds the search, which is linear in them, and fills rows nearly as well
# as all.
OPEN_ROWS = 64


class ChatForm:
  """Dialogues of a decoder.

  Attributes:
    head: of kind none, the language model itself.
    targets: 0, as each token has one.
    template: how a dialogue becomes a text.
    max_new: most tokens of an answer.
  """

  targets = 0

  def __init__(self, loaded: LoadedModel, template: ChatTemplate, settings: FinetuneSettings) -> None:
    """Derives how dialogues become rows.

    Args:
      loaded: the model, with its tokenizer.
      template: how a dialogue becomes a text.
      settings: max_length, long and max_answer.

    Raises:
      UserError: for long=windows, as no answer has a place in two rows, and for answers that fill a row.
    """
    # The template's own marks are special tokens where the tokenizer has them.
    self.loaded = special_tokens.allow_special(loaded, True)
    self.head, self.template = HeadConfig("none"), template
    self._length = model_inputs.row_length(loaded, settings.max_length)
    self._longer = model_inputs.suggest_longer(loaded, self._length)
    self._long = settings.long or "error"
    # Where a row is short, half of it stays for the messages before an answer.
    self.max_new = settings.max_answer or min(MAX_NEW, max(1, self._length // 2))
    if self.max_new >= self._length:
      raise UserError(
        f"max_answer is {self.max_new}, and a row holds {self._length} tokens of messages and answer together; "
        f"choose a smaller max_answer, or {self._longer}"
      )
    if self._long == "windows":
      raise UserError("long=windows is not for dialogues; choose truncate, which cuts the end of a dialogue")

  def rows(self, examples: Sequence[DialogueExample], what: str) -> list[EncodedRow]:
    """Returns the packed rows of dialogues; one that is too long is an error, or loses its end.

    Raises:
      UserError: for a dialogue that a row does not hold, or one whose answers have no place in the template's text.
    """
    read = [
      self._encoded(example, f"{what} dialogue {number:,}") for number, example in enumerate(examples, 1)
    ]
    if self._long == "error":
      model_inputs.require_fits(
        [len(row.inputs) for row in read], self._length, f"{what} dialogue", self._longer, windows=False
      )
    cut = [_cut(row._replace(owner=owner), self._length) for owner, row in enumerate(read)]
    if not any(any(row.weights) for row in cut):
      raise UserError(
        f"no {what} dialogue has an answer within the {self._length} tokens of a row; choose a larger max_length, or "
        "shorter dialogues"
      )
    return pack_rows(cut, self._length)

  def _encoded(self, example: DialogueExample, where: str) -> EncodedRow:
    """Returns the row of one dialogue."""
    require_no_marks(example.messages, self.loaded, where)
    rendered = self.template.render_with_answers(plain_messages(example.messages), now=chat_time())
    pieces, place = [], 0
    for begin, end in rendered.answers:
      # Cut at the answers before encoding: a token must not be half prompt and half answer, or its loss has no place.
      pieces += [(rendered.text[place:begin], 0.0), (rendered.text[begin:end], 1.0)]
      place = end
    pieces.append((rendered.text[place:], 0.0))
    ids, weights = list(self._before(rendered.text)), []
    weights = [0.0] * len(ids)
    for piece, weight in pieces:
      more = self._encode(piece)
      ids += more
      weights += [weight] * len(more)
    if not any(weights):
      raise UserError(f"{where} has no answer of the assistant with text; leave it out")
    stop = self.loaded.reading.stop[:1]
    # The end token, because a template's mark may be plain text, which ends no answer of `generate.py` without --chat.
    if stop and ids[-1] != stop[0] and weights[-1]:
      ids += stop
      weights += [1.0]
    return EncodedRow(0, ids[:-1], ids[1:], weights[1:])

  def _before(self, text: str) -> tuple[int, ...]:
    """Returns the ids before a text, unless the template writes them itself."""
    before, tokenizer = self.loaded.reading.before, self.loaded.tokenizer
    names = "".join(tokenizer.name(number) for number in before)
    return () if names and text.startswith(names) else tuple(before)

  def _encode(self, text: str) -> list[int]:
    if not text:
      return []
    ids: list[int] = special_tokens.encode_with_special(
      self.loaded.tokenizer, text, self.loaded.reading.special
    ).tolist()
    return ids

  def predict(
    self, params: Any, examples: Sequence[DialogueExample], what: str = "test"
  ) -> list[TaskPrediction]:
    """Returns the greedy answer to the messages before each dialogue's last answer."""
    del what
    loaded, marks = with_end_marks(self.loaded._replace(params=params), self.template)
    for number, each in enumerate(examples, 1):
      require_no_marks(each.messages[: each.last_answer], loaded, f"dialogue {number:,}")
    prompts = [chat_prompt(self.template, loaded, each.messages[: each.last_answer]) for each in examples]
    written = text_form.write_answers(loaded, prompts, self.max_new, marks)
    return [TaskPrediction(answer.strip(), score) for answer, score in written]


def _cut(row: EncodedRow, length: int) -> EncodedRow:
  return row._replace(inputs=row.inputs[:length], targets=row.targets[:length], weights=row.weights[:length])


def pack_rows(rows: Sequence[EncodedRow], length: int) -> list[EncodedRow]:
  """Returns the rows joined, each in the first open row that holds it; a joined row has the owner of its first."""
  open_rows: list[list[EncodedRow]] = []
  sizes: list[int] = []
  full: list[list[EncodedRow]] = []
  for row in rows:
    place = next((at for at, size in enumerate(sizes) if size + len(row.inputs) <= length), None)
    if place is None:
      open_rows.append([row])
      sizes.append(len(row.inputs))
    else:
      open_rows[place].append(row)
      sizes[place] += len(row.inputs)
    if len(open_rows) > OPEN_ROWS:
      # The fullest row is closed, because it is the least likely to take another dialogue.
      fullest = int(np.argmax(sizes))
      full.append(open_rows.pop(fullest))
      sizes.pop(fullest)
  return [_joined(parts) for parts in (*full, *open_rows)]


def _joined(parts: Sequence[EncodedRow]) -> EncodedRow:
  inputs: list[int] = []
  targets: list[float] = []
  weights: list[float] = []
  segments: list[int] = []
  for number, part in enumerate(parts, 1):
    inputs += part.inputs
    targets += part.targets
    weights += part.weights
    # Segments count from 1; 0 is padding.
    segments += [number] * len(part.inputs)
  return EncodedRow(parts[0].owner, inputs, targets, weights, segments=segments)


def plain_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
  """Returns messages as templates read them."""
  return [{"role": message.role, "content": message.content} for message in messages]


def require_no_marks(messages: Sequence[Message], loaded: LoadedModel, where: str) -> None:
  """Checks that no message contains the text of a special token, which the rendered text could not tell from a mark.

  Args:
    messages: of a dialogue, or a single one.
    loaded: the model.
    where: what the messages are, in errors.

  Raises:
    UserError: naming the token and the message.
  """
  for number, message in enumerate(messages, 1):
    place = f"{where}, message {number}" if len(messages) > 1 else where
    for name, _ in loaded.reading.special:
      if name and name in message.content:
        raise UserError(
          f"{place}: the text contains {name!r}, a special token of the model, so it could pass for "
          "a mark of the template; remove it"
        )


def chat_prompt(template: ChatTemplate, loaded: LoadedModel, messages: Sequence[Message]) -> str:
  """Returns the text before an answer, without the ids that the model's prompts begin with anyway."""
  text = template.render(plain_messages(messages), True, now=chat_time()).text
  names = "".join(loaded.tokenizer.name(number) for number in loaded.reading.before)
  return text.removeprefix(names) if names else text


def end_marks(template: ChatTemplate) -> tuple[str, ...]:
  """Returns what the template writes after an answer, up to white space, as text that ends one."""
  # Of Unicode's private use area, so that no template writes it.
  probe = "\ue000"
  text = template.render_with_answers(
    [{"role": "user", "content": "a"}, {"role": chat.ASSISTANT, "content": probe}], now=chat_time()
  ).text
  mark = text.partition(probe)[2].strip()
  return (mark,) if mark else ()


def chat_time() -> Any:
  """Returns the time that templates may print: one time, so that a resumed run reads the same text."""
  import datetime

  # Any fixed day; a template that prints the date would otherwise give each run other text.
  return datetime.datetime(2020, 1, 1)


def begin_chat(
  loaded: LoadedModel, folder: str | Path, message: str
) -> tuple[LoadedModel, str, tuple[str, ...]]:
  """Returns a model that reads a template's marks, the prompt of a user's message, and what ends the answer.

  Args:
    loaded: the model.
    folder: its folder, with its template.
    message: of the user.

  Raises:
    UserError: for a model that continues no text, a template that cannot be rendered, or a message with a special
      token.
  """
  loaded, template, marks = open_chat(loaded, folder)
  messages = [Message("user", message)]
  require_no_marks(messages, loaded, "the message")
  return loaded, chat_prompt(template, loaded, messages), marks


def open_chat(loaded: LoadedModel, folder: str | Path) -> tuple[LoadedModel, ChatTemplate, tuple[str, ...]]:
  """Returns a model that reads the marks of its folder's template, the template, and what ends an answer.

  Raises:
    UserError: for a model that continues no text, or a template that cannot be rendered.
  """
  if loaded.model.family in ("encoder", "encoder_decoder"):
    raise UserError(f"a model of family {loaded.model.family} holds no dialogue; choose a decoder")
  template = chat.template_or_default(folder)
  loaded, marks = with_end_marks(special_tokens.allow_special(loaded, True), template)
  return loaded, template, marks


def with_end_marks(loaded: LoadedModel, template: ChatTemplate) -> tuple[LoadedModel, tuple[str, ...]]:
  """Returns a model whose answers end at the template's mark, and the mark where it is text.

  A mark that is a special token ends an answer by its id, since it has no text.
  """
  marks, ids = end_marks(template), dict(loaded.reading.special)
  stop = (*loaded.reading.stop, *(ids[mark] for mark in marks if mark in ids))
  reading = loaded.reading._replace(stop=tuple(dict.fromkeys(stop)))
  return loaded._replace(reading=reading), tuple(mark for mark in marks if mark not in ids)
