"""Answers as spans of a context: question and context in one row, and the first and the last token of the answer.

A long context becomes windows that share `stride` tokens, each with the question. A window without the complete answer
has the row's first token as its target, which also stands for "no answer". The answer to a question is the best span of
all its windows: the sum of two logits, within `max_answer` tokens. Where data have questions without an answer, a
question has none if the "no answer" score exceeds its best span by more than a threshold, which is chosen on the
development part (arXiv:1806.03822).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gen.config.heads import HeadConfig
from gen.data.tasks import words
from gen.data.tasks.examples import QuestionExample
from gen.data.tokenizers.tokenizer import Tokenizer
from gen.errors import UserError
from gen.evaluation.metrics import answer_scores
from gen.evaluation.metrics.answer_scores import AnswerPrediction
from gen.finetuning import model_inputs
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms.classify_form import TaskPrediction
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.generation.loaded_model import LoadedModel

MAX_ANSWER = 30  # tokens of an answer where none is given; max_answer_length of BERT's run_squad.py
BEST = (
  20  # likeliest first tokens that are tried, each with all last ones; n_best_size of BERT's run_squad.py
)


class LocatedPieces(NamedTuple):
  """The pieces of a text, and the characters that each stands for."""

  ids: list[int]
  begins: list[int]
  ends: list[int]


class SpanForm:
  """Questions whose answers are parts of their contexts.

  Attributes:
    head: of the model.
    targets: targets of a row.
    threshold: "no answer" less the best span above which there is no answer; None if every question has one.
  """

  targets = 2

  def __init__(
    self, loaded: LoadedModel, head: HeadConfig, settings: FinetuneSettings, answerless: bool
  ) -> None:
    """Derives how questions become rows.

    Args:
      loaded: the model, with its tokenizer.
      head: of kind span.
      settings: max_length, long, stride and max_answer.
      answerless: whether some questions have no answer.
    """
    self.loaded, self.head = loaded, head
    self._frame = model_inputs.input_frame(loaded)
    self._length = model_inputs.row_length(loaded, settings.max_length)
    self._longer = model_inputs.suggest_longer(loaded, self._length)
    self._long, self._stride = settings.long or "windows", settings.stride
    self._max_answer = settings.max_answer or MAX_ANSWER
    self.threshold = 0.0 if answerless else None
    if not self._frame.before:
      # The first token of a row stands for "no answer".
      raise UserError(
        f"{loaded.where} puts no token before a text, which a span head needs for 'no answer'; choose form=text"
      )

  def rows(self, examples: Sequence[QuestionExample], what: str) -> list[EncodedRow]:
    """Returns the rows of questions; each window of a long context is one.

    Raises:
      UserError: for a question that leaves no room for its context, or a context that a row does not hold, unless
        settings say what happens to it.
    """
    model_inputs.require_room(self._frame.room(self._length, pair=True), self._length, 2)
    questions = model_inputs.encode_texts(self.loaded, [e.question for e in examples], f"{what} question")
    contexts = locate_pieces(self.loaded, [e.context for e in examples], what)
    rows = []
    for owner, (example, question, context) in enumerate(zip(examples, questions, contexts, strict=True)):
      # At most half of the row, so that a long question leaves room for its context.
      asked = question[: self._frame.room(self._length, pair=True) // 2].tolist()
      answer = _find_tokens(example, context)
      for begin, end in self._windows(owner, asked, context, what):
        ids, types = self._frame.join(asked, context.ids[begin:end])
        shift = len(ids) - len(self._frame.after) - (end - begin) - begin
        inside = answer is not None and begin <= answer[0] and answer[1] < end
        targets = (answer[0] + shift, answer[1] + shift) if inside and answer is not None else (0, 0)
        # The mean of both cross entropies, as in BERT's run_squad.py.
        rows.append(EncodedRow(owner, ids, targets, (0.5, 0.5), types if any(types) else ()))
    return rows

  def _windows(
    self, owner: int, question: Sequence[int], context: LocatedPieces, what: str
  ) -> list[tuple[int, int]]:
    room = self._frame.room(self._length, pair=True) - len(question)
    if len(context.ids) <= room:
      return [(0, len(context.ids))]
    if self._long == "error":
      raise UserError(
        f"{what} question {owner + 1:,} has a context of {len(context.ids):,} tokens, and a row holds {room} beside "
        f"the question; choose long=windows or long=truncate, or {self._longer}"
      )
    if self._long == "truncate":
      return [(0, room)]
    model_inputs.require_stride(room, self._stride)
    return model_inputs.cut_windows(len(context.ids), room, self._stride)

  def predictions(
    self, rows: Sequence[EncodedRow], logits: Sequence[np.ndarray], examples: Sequence[QuestionExample]
  ) -> list[TaskPrediction]:
    """Returns the best span of each question over all its windows, or an empty text for no answer."""
    questions = model_inputs.encode_texts(self.loaded, [e.question for e in examples], "question")
    contexts = locate_pieces(self.loaded, [e.context for e in examples], "test")
    by_row, answers = iter(logits), []
    for owner, (example, question, context) in enumerate(zip(examples, questions, contexts, strict=True)):
      # As in `rows`: windows of prediction must be those of training.
      asked = question[: self._frame.room(self._length, pair=True) // 2].tolist()
      best, best_span, none = -np.inf, (0, 0), np.inf
      for begin, end in self._windows(owner, asked, context, "test"):
        logits_t2 = next(by_row).astype(np.float64)
        offset = len(self._frame.before) + len(asked) + len(self._frame.between)
        here_t2 = logits_t2[offset : offset + end - begin]
        # The least over the windows, as in run_squad.py: any window without the answer would claim that there is none.
        none = min(none, float(logits_t2[0].sum()))
        score, first, last = best_pair(here_t2[:, 0], here_t2[:, 1], self._max_answer)
        if score > best:
          best, best_span = score, (begin + first, begin + last)
      text = example.context[context.begins[best_span[0]] : context.ends[best_span[1]]] if context.ids else ""
      found = TaskPrediction(text, float(best), AnswerPrediction(text, float(none - best)))
      answers.append(found if self.threshold is None else self._decided(found))
    return answers

  def _decided(self, prediction: TaskPrediction) -> TaskPrediction:
    found: AnswerPrediction = prediction.options
    return prediction._replace(value="" if found.no_answer > (self.threshold or 0.0) else found.text)

  def choose_threshold(
    self, predictions: Sequence[TaskPrediction], examples: Sequence[QuestionExample]
  ) -> list[TaskPrediction]:
    """Returns the predictions under the threshold that gives the best F1 on them, which is kept."""
    if self.threshold is None:
      return list(predictions)
    found = [prediction.options for prediction in predictions]
    scores = [
      answer_scores.match_answer(each.text, example.answers, True)[1]
      for each, example in zip(found, examples, strict=True)
    ]
    answerable = [bool(example.answers) for example in examples]
    texts, none = [each.text for each in found], [each.no_answer for each in found]
    best, threshold = answer_scores.find_best_threshold(scores, none, answerable, texts)
    nothing = sum(not has for has in answerable) / len(answerable)
    # The script's threshold is 0 where no answer at all is best, and 0 would let some answers stand.
    self.threshold = threshold if best > nothing else min(none) - 1.0
    return [self._decided(prediction) for prediction in predictions]


def best_pair(starts_t: np.ndarray, ends_t: np.ndarray, longest: int) -> tuple[float, int, int]:
  """Returns the highest sum of a start's and an end's logit, and both places.

  Args:
    starts_t: logits of the first token.
    ends_t: logits of the last token, which is not before the first.
    longest: most tokens between both, themselves included.

  >>> best_pair(np.array([1.0, 5.0, 0.0]), np.array([9.0, 0.0, 2.0]), 2)
  (10.0, 0, 0)
  """
  best = (-np.inf, 0, 0)
  for first in np.argsort(-starts_t)[:BEST].tolist():
    tail_t = ends_t[first : first + longest]
    last = first + int(tail_t.argmax())
    best = max(best, (float(starts_t[first] + ends_t[last]), first, last), key=lambda pair: pair[0])
  return best


def locate_pieces(loaded: LoadedModel, texts: Sequence[str], what: str) -> list[LocatedPieces]:
  """Returns the pieces of each text with their characters; words and marks are encoded one by one.

  Where a word's pieces have as many bytes as the word, each piece has characters of its own; otherwise, as where the
  tokenizer changes letters, each stands for the complete word.

  Args:
    loaded: the model.
    texts: the contexts.
    what: part of the data, in errors.
  """
  found = [list(words.NAMED_WORDS.finditer(text)) for text in texts]
  spaced = [
    (" " if match.start() and text[match.start() - 1].isspace() else "") + match[0]
    for text, matches in zip(texts, found, strict=True)
    for match in matches
  ]
  pieces = iter(zip(spaced, model_inputs.encode_texts(loaded, spaced, f"{what} word"), strict=True))
  located = []
  for matches in found:
    whole = LocatedPieces([], [], [])
    for match in matches:
      word, ids = next(pieces)
      for number, (begin, end) in zip(ids.tolist(), _characters(loaded.tokenizer, word, ids), strict=True):
        whole.ids.append(number)
        whole.begins.append(match.start() + begin)
        whole.ends.append(match.start() + end)
    located.append(whole)
  return located


def _characters(tokenizer: Tokenizer, word: str, ids: np.ndarray) -> list[tuple[int, int]]:
  """Returns the characters of a word, without the space before it, that each of its pieces stands for."""
  plain = word.lstrip()
  if len(ids) == 1:
    return [(0, len(plain))]
  pieces = [tokenizer.piece(number) for number in ids.tolist()]
  text, target = b"".join(pieces), plain.encode()
  # The space before a word belongs to its first piece, but not to the answer.
  lead = len(text) - len(text.lstrip(b" "))
  if len(text) - lead != len(target):
    return [(0, len(plain))] * len(ids)
  ends = np.maximum(np.cumsum([len(piece) for piece in pieces]) - lead, 0)
  begins = [0, *ends[:-1].tolist()]
  # A piece may end inside a character of several bytes; an incomplete one is left out of the count.
  starts = [len(target[:byte].decode(errors="ignore")) for byte in begins]
  stops = [len(target[:byte].decode(errors="ignore")) for byte in ends.tolist()]
  return list(zip(starts, stops, strict=True))


def _find_tokens(example: QuestionExample, context: LocatedPieces) -> tuple[int, int] | None:
  """Returns the first and the last token that the first answer touches, or None without an answer."""
  if not example.answers:
    return None
  begin, end = example.starts[0], example.starts[0] + len(example.answers[0])
  inside = [
    number
    for number, (first, last) in enumerate(zip(context.begins, context.ends, strict=True))
    if first < end and last > begin
  ]
  return (inside[0], inside[-1]) if inside else None
