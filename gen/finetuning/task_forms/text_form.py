"""The text form of a task: a model reads a prompt and writes the answer; only the answer has loss.

A decoder continues the prompt; an encoder-decoder reads it and writes the answer (arXiv:1910.10683). Prompt and answer
are tokenized as they are when the model generates.
"""

import difflib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from gen.config.heads import HeadConfig
from gen.errors import UserError
from gen.evaluation import likelihood
from gen.finetuning import model_inputs
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import prompt_texts
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.finetuning.task_forms.prompt_texts import TaskPrompt
from gen.generation import text
from gen.generation.decoding.sampling import GREEDY
from gen.generation.loaded_model import LoadedModel

NO_BLANK = "\ue000blank\ue000"  # a mark that no text has: blanks in the data are text
# Prompts that are generated together; chosen: a full product in decoding at little memory for caches.
BATCH = 32
MAX_NEW = 128  # tokens of an answer at most, where none is given; chosen: a paragraph
# Classes whose likelihoods are compared where none was written; chosen: each costs a pass over prompt and answer.
MAX_CHOICES = 64


class TextForm:
  """Examples as prompts and answers.

  Attributes:
    head: of kind none, the language model itself.
    targets: 0, as each token has one.
    max_new: most tokens of an answer.
  """

  targets = 0

  def __init__(
    self,
    loaded: LoadedModel,
    settings: FinetuneSettings,
    train: Sequence[Any],
    labels: Sequence[str] = (),
  ) -> None:
    """Derives how examples become prompts.

    Args:
      loaded: the model, with its tokenizer.
      settings: prompt, max_length, long and max_answer.
      train: examples, whose longest answer bounds what is generated where settings do not.
      labels: classes or tags.
    """
    self.loaded, self.head, self.labels = loaded, HeadConfig("none"), tuple(labels)
    self.task, self._long = settings.task, settings.long or "error"
    if self._long == "windows":
      raise UserError("long=windows needs form=head: a written answer cannot be found across windows")
    pairs = any(getattr(example, "second_text", "") for example in train)
    self.prompt = TaskPrompt(self.task, loaded.model.family, settings.prompt, pairs)
    self._length = model_inputs.row_length(loaded, settings.max_length)
    self._longer = model_inputs.suggest_longer(loaded, self._length)
    answers = model_inputs.encode_texts(loaded, [self.prompt.answer(e) for e in train], "training answer")
    longest = max(len(ids) for ids in answers) + len(loaded.reading.start)
    self.max_new = settings.max_answer or min(longest, MAX_NEW)
    self._answers_beside = loaded.model.family == "encoder_decoder"
    if self.room < 1:
      raise UserError(
        f"a row of {self._length} tokens has no room for a prompt beside answers of {self.max_new}; choose a smaller "
        f"max_answer, or {self._longer}"
      )

  @property
  def room(self) -> int:
    """The most tokens of a prompt; an encoder-decoder's answer has a row of its own."""
    how = self.loaded.reading
    around = len(how.before) + len(how.after) + 1
    return self._length - around - (0 if self._answers_beside else self.max_new)

  def prompts(self, examples: Sequence[Any], what: str, before: str = "") -> list[str]:
    """Returns the prompts of examples, the longest field cut where settings say so.

    Args:
      examples: of the task.
      what: part of the data, in errors.
      before: text in front of each, such as solved examples.

    Raises:
      UserError: for a prompt that a row does not hold.
    """
    texts = [before + self.prompt.fill(example) for example in examples]
    lengths = [len(ids) for ids in model_inputs.encode_texts(self.loaded, texts, f"{what} prompt")]
    if self._long == "error":
      model_inputs.require_fits(lengths, self.room, f"{what} prompt", self._longer, windows=False)
      return texts
    return [
      self._shortened(example, prompt, length, before)
      for example, prompt, length in zip(examples, texts, lengths, strict=True)
    ]

  def _shortened(self, example: Any, prompt: str, length: int, before: str) -> str:
    """Returns the prompt with the end of its longest field cut."""
    over, tokenizer = length - self.room, self.loaded.tokenizer
    if over <= 0:
      return prompt
    for extra in (0, 4, 16, 64):  # cutting may change how the rest is split

      def shorten(field: str, extra: int = extra) -> str:
        ids = tokenizer.encode(field)
        return tokenizer.decode(ids[: max(1, len(ids) - over - extra)])

      prompt = before + self.prompt.fill(example, shorten)
      if len(tokenizer.encode(prompt)) <= self.room:
        break
    return prompt

  def rows(self, examples: Sequence[Any], what: str) -> list[EncodedRow]:
    """Returns one row of each example, with loss on its answer and the end token.

    Raises:
      UserError: for an example that a row does not hold, or without an answer.
    """
    rows = []
    for owner, (example, prompt) in enumerate(zip(examples, self.prompts(examples, what), strict=True)):
      answer = self.prompt.answer(example)
      if not answer.strip():
        raise UserError(f"{what} example {owner + 1:,} has an empty answer; give some text, or leave it out")
      try:
        (scored,) = likelihood.rows_for(
          self.loaded, prompt, answer, owner, blank=NO_BLANK, ends=True, policy="truncate"
        )
      except UserError as error:
        raise UserError(f"{what} example {owner + 1:,}: {error}") from None
      if not self._answers_beside and len(scored.inputs) > self._length:
        raise UserError(
          f"{what} example {owner + 1:,} has {len(scored.inputs)} tokens with its answer, and a row holds "
          f"{self._length}; choose a larger max_answer or max_length"
        )
      weights = np.zeros(len(scored.inputs), np.float32)
      # Loss on the answer alone: a prompt's tokens are given, not learned.
      weights[scored.first : scored.first + scored.counted] = 1.0
      source = () if scored.source is None else scored.source.tolist()
      rows.append(
        EncodedRow(owner, scored.inputs, scored.targets, weights.tolist(), (), source, scored.prefix)
      )
    return rows

  def predict(self, params: Any, examples: Sequence[Any], what: str = "test") -> list[TaskPrediction]:
    """Returns the answer to each example, greedily generated with some parameters."""
    loaded = self.loaded._replace(params=params)
    written = write_answers(loaded, self.prompts(examples, what), self.max_new)
    if self.task == "classify":
      return self._as_classes(loaded, examples, written, what)
    return [
      TaskPrediction(prompt_texts.read_answer(self.task, answer, example, self.labels), score)
      for example, (answer, score) in zip(examples, written, strict=True)
    ]

  def _as_classes(
    self, loaded: LoadedModel, examples: Sequence[Any], written: Sequence[tuple[str, float]], what: str
  ) -> list[TaskPrediction]:
    """Returns the written classes; where what is written is no class, the likeliest class.

    Of very many classes it is the one whose name is most similar.
    """
    answers = [TaskPrediction(answer.strip(), float(np.exp(score))) for answer, score in written]
    odd = [number for number, answer in enumerate(answers) if answer.value not in self.labels]
    if len(self.labels) > MAX_CHOICES:
      for number in odd:
        (nearest,) = difflib.get_close_matches(answers[number].value, self.labels, 1, 0.0)
        answers[number] = answers[number]._replace(value=nearest)
    elif odd:
      likeliest = choose_labels(self, loaded, [examples[number] for number in odd], what)
      for number, answer in zip(odd, likeliest, strict=True):
        answers[number] = answer
    return answers


def choose_labels(
  form: TextForm, loaded: LoadedModel, examples: Sequence[Any], what: str, before: str = ""
) -> list[TaskPrediction]:
  """Returns the likeliest label of each example after its prompt, and its share of the labels' probability."""
  prompts = form.prompts(examples, what, before)
  # A decoder continues the prompt, after which a word begins with a space; an encoder-decoder's answer is a text of its
  # own.
  space = "" if loaded.model.family == "encoder_decoder" else " "
  pairs = [(prompt, space + label) for prompt in prompts for label in form.labels]
  found = likelihood.answer_likelihoods(loaded, pairs, blank=NO_BLANK, ends=True, policy="truncate")
  nats = np.array([answer.log_probability for answer in found]).reshape(len(examples), -1)
  shares = np.exp(nats - nats.max(1, keepdims=True))
  shares /= shares.sum(1, keepdims=True)
  return [TaskPrediction(form.labels[int(row.argmax())], float(row.max())) for row in shares]


def write_answers(
  loaded: LoadedModel, prompts: Sequence[str], max_new: int, stop: tuple[str, ...] = ()
) -> list[tuple[str, float]]:
  """Returns the greedy answer to each prompt and its log-probability; prompts of similar length go together."""
  order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
  answers: list[tuple[str, float]] = [("", 0.0)] * len(prompts)
  for begin in range(0, len(order), BATCH):
    part = order[begin : begin + BATCH]
    # Filled up, so that the last batch compiles nothing.
    texts = [prompts[number] for number in part] + [prompts[part[0]]] * (BATCH - len(part))
    (written,) = text.stream_answers(
      loaded, texts, GREEDY, jax.random.key(0), blank=NO_BLANK, stop_strings=stop, max_tokens=max_new,
      window="truncate",
    )  # fmt: skip
    for number, answer in zip(part, written, strict=False):
      answers[number] = plain_text(loaded, answer), answer.log_probability
  return answers


def plain_text(loaded: LoadedModel, answer: text.TextAnswer) -> str:
  """Returns generated text without special tokens."""
  if loaded.model.family != "encoder_decoder":
    return answer.text
  tokenizer = loaded.tokenizer
  known = [int(i) for i in answer.tokens if i < tokenizer.vocab and not tokenizer.is_special(int(i))]
  return tokenizer.decode(known)
