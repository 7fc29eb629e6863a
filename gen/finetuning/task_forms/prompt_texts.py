r"""Prompts and answers of the text form: each task as a text to read and a text to write.

A template names fields of the task's examples in braces, as "{text}\nTopic:". A decoder continues its prompt, so the
prompt ends with a cue and the answer begins with a space. An encoder-decoder reads the prompt, as T5 does
(arXiv:1910.10683), and writes the answer alone.
"""

from collections.abc import Callable
from typing import Any

from gen.errors import UserError
from gen.generation import prompts

NO_ANSWER = "unanswerable"  # written for a question without an answer

FIELDS = {
  "classify": ("text", "second_text"),
  "tag": ("tokens",),
  "translate": ("source",),
  "summarize": ("source",),
  "answer": ("question", "context"),
}
LONG_FIELD = {
  "classify": "text",
  "tag": "tokens",
  "translate": "source",
  "summarize": "source",
  "answer": "context",
}
_CONTINUED = {
  "classify": "{text}\nLabel:",
  "tag": "{tokens}\nTags:",
  "translate": "{source}\nTranslation:",
  "summarize": "{source}\nSummary:",
  "answer": "{context}\nQuestion: {question}\nAnswer:",
}
_READ = {
  "classify": "classify: {text}",
  "tag": "tag: {tokens}",
  "translate": "translate: {source}",
  "summarize": "summarize: {source}",
  "answer": "question: {question} context: {context}",
}


class TaskPrompt:
  """The prompt of a task for a family.

  Attributes:
    task: of the examples.
    text: its template.
  """

  def __init__(self, task: str, family: str, text: str = "", pairs: bool = False) -> None:
    """Checks the template.

    Args:
      task: of the examples.
      family: of the model.
      text: the template; empty takes the task's usual one.
      pairs: whether examples have a second text.

    Raises:
      UserError: for a template that cannot be read, or whose fields are not those of the task.
    """
    reads, long = family == "encoder_decoder", LONG_FIELD[task]
    usual = (_READ if reads else _CONTINUED)[task]
    self.task, self._space = task, "" if reads else " "
    self.text = text or (usual.replace("{text}", "{text}\n{second_text}") if pairs else usual)
    self._template = prompts.PromptTemplate(self.text)
    for field in self._template.fields:
      if field not in FIELDS[task]:
        raise UserError(
          f"prompt {self.text[:60]!r} names the field {field!r}; task {task} has {', '.join(FIELDS[task])}"
        )
    if long not in self._template.fields:
      raise UserError(f"prompt {self.text[:60]!r} does not name the field {{{long}}}; add it")

  def fill(self, example: Any, shorten: Callable[[str], str] = str) -> str:
    """Returns the prompt of an example; `shorten` is applied to its longest field."""
    values = {name: _field_text(example, name) for name in self._template.fields}
    long = LONG_FIELD[self.task]
    return self._template.fill(**(values | {long: shorten(values[long])}))

  def answer(self, example: Any) -> str:
    """Returns the text to write for an example."""
    return self._space + answer_text(self.task, example)


def _field_text(example: Any, name: str) -> str:
  value = getattr(example, name)
  return value if isinstance(value, str) else " ".join(value)


def answer_text(task: str, example: Any) -> str:
  """Returns the right answer to an example as a text."""
  if task == "classify":
    return str(example.label)
  if task == "tag":
    return " ".join(example.tags)
  if task == "answer":
    return example.answers[0] if example.answers else NO_ANSWER
  return str(example.target)


def read_answer(task: str, text: str, example: Any, labels: tuple[str, ...]) -> Any:
  """Returns what a written answer says: a class, one tag a word, or the text.

  Tags that are unknown or missing are O, or the first label where there is no O.

  Args:
    task: of the example.
    text: what the model wrote.
    example: the example, for its number of words.
    labels: classes or tags.
  """
  text = text.strip()
  if task == "answer":
    return "" if text == NO_ANSWER else text
  if task != "tag":
    return text
  default = "O" if "O" in labels else labels[0]
  tags = [tag if tag in labels else default for tag in text.split()]
  words = len(example.tokens)
  return tuple((tags + [default] * words)[:words])
