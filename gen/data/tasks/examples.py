"""Examples of the tasks of fine-tuning, as readers return them and models receive them."""

from dataclasses import dataclass
from typing import Any

TASKS = ("classify", "tag", "translate", "summarize", "answer", "instruct")


@dataclass(frozen=True, slots=True)
class TextExample:
  """A text, or a pair of texts, with a label or a number.

  Attributes:
    text: the text, or the first text of a pair.
    label: the class; empty for regression.
    second_text: the second text of a pair; empty for single texts.
    document: name of the document that the text comes from; empty if each text is its own.
    label_value: the number of regression; None for classification.
  """

  text: str
  label: str
  second_text: str = ""
  document: str = ""
  label_value: float | None = None


@dataclass(frozen=True, slots=True)
class TaggedExample:
  """Tokens of a sentence with their tags, in IOB2 for spans.

  Attributes:
    tokens: words, none empty.
    tags: one per token, such as O, B-PER or I-PER; or plain classes, such as parts of speech.
    document: name of the document that the sentence comes from.
  """

  tokens: tuple[str, ...]
  tags: tuple[str, ...]
  document: str = ""


@dataclass(frozen=True, slots=True)
class PairExample:
  """A text and the text that a model should produce from it: a translation or a summary."""

  source: str
  target: str
  document: str = ""


@dataclass(frozen=True, slots=True)
class QuestionExample:
  """A question about a context.

  Attributes:
    question: the question.
    context: the text that holds the answer.
    answers: accepted answers; none if the context does not answer the question, as in SQuAD v2.
    starts: character offset of each answer in the context.
    identifier: name of the question in its file.
    document: name of the document that the context comes from.
  """

  question: str
  context: str
  answers: tuple[str, ...]
  starts: tuple[int, ...]
  identifier: str = ""
  document: str = ""


@dataclass(frozen=True, slots=True)
class Message:
  """One turn of a dialogue; role is system, user or assistant."""

  role: str
  content: str


@dataclass(frozen=True, slots=True)
class DialogueExample:
  """A dialogue whose assistant turns a model should produce."""

  messages: tuple[Message, ...]
  document: str = ""

  @property
  def last_answer(self) -> int:
    """The index of the assistant's last message, which is predicted; a user's thanks may follow it."""
    return max(number for number, message in enumerate(self.messages) if message.role == "assistant")


# The class of a task's examples.
EXAMPLES: dict[str, type[Any]] = {
  "classify": TextExample, "tag": TaggedExample, "translate": PairExample, "summarize": PairExample,
  "answer": QuestionExample, "instruct": DialogueExample,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaskData:
  """The examples of one task in three parts that share no text and no document.

  Attributes:
    task: one of TASKS.
    train: examples of the task's class.
    development: examples on which checkpoints and settings are chosen.
    test: examples that are scored once.
    labels: classes or tags in sorted order; empty for other tasks and for regression.
    source: as the user wrote it.
    sha256: of all examples and their parts.
    licence: SPDX expression of the data; empty if unknown.
    notes: lines about how the data was read; those that open with "warning: " need attention.
  """

  task: str
  train: tuple[Any, ...]
  development: tuple[Any, ...]
  test: tuple[Any, ...]
  labels: tuple[str, ...]
  source: str
  sha256: str
  licence: str = ""
  notes: tuple[str, ...] = ()
