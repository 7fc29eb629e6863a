"""Few-shot accuracy: prompts of k solved examples, then the question.

by likelihood    the answer is the most likely choice after the prompt, or in a blank for an encoder
by generation    the answer is the generated text

Every answer records its exact prompt, and the share of the window used by examples.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypedDict, cast

import jax
from scipy import stats

from gen.errors import UserError
from gen.evaluation import likelihood
from gen.generation import prompts, text
from gen.generation.decoding import decoders
from gen.generation.decoding.sampling import GREEDY
from gen.generation.loaded_model import LoadedModel
from gen.generation.prompts import Item, PromptLayout

NORMALIZATIONS = ("none", "tokens", "bytes")
Choices = Callable[[Item], Sequence[str]]
Pool = Sequence[Item] | Callable[[Item], Sequence[Item]]


class ScoredAnswer(NamedTuple):
  """One question and its answer.

  Attributes:
    prompt: the exact prompt, without special tokens around it.
    examples: pool indices of its examples.
    expected: the right answer.
    given: the model's answer.
    correct: whether they are equal.
    log_probabilities: of each choice, nats, not normalized; empty for generated answers.
    tokens: of the prompt.
    example_tokens: tokens of the examples.
    window: its size in tokens, 0 for unlimited.
  """

  prompt: str
  examples: tuple[int, ...]
  expected: str
  given: str
  correct: bool
  log_probabilities: dict[str, float]
  tokens: int
  example_tokens: int
  window: int

  @property
  def share(self) -> float | None:
    """Fraction of the window used by examples; None without a window."""
    return self.example_tokens / self.window if self.window else None


class FewShotResult(NamedTuple):
  """The accuracy with k examples.

  Attributes:
    k: examples before each question.
    accuracy: fraction of correct answers.
    low: lower end of its 95 % interval (Wilson's, for independent questions).
    high: upper end of the interval.
    share: mean fraction of the window used by examples, None without a window.
    answers: each question.
  """

  k: int
  accuracy: float
  low: float
  high: float
  share: float | None
  answers: list[ScoredAnswer]


class AccuracyValues(TypedDict, total=False):
  """A `FewShotResult` without its answers, or an accuracy after fine-tuning, as JSON has it."""

  k: int
  accuracy: float
  low: float
  high: float
  share: float | None
  steps: int
  flops: float
  context_flops: float


def accuracy_values(curve: Sequence[FewShotResult]) -> list[AccuracyValues]:
  """Returns results as JSON has them, without the answers."""
  return [
    cast(AccuracyValues, {name: value for name, value in point._asdict().items() if name != "answers"})
    for point in curve
  ]


def by_likelihood(
  restored: LoadedModel,
  layout: PromptLayout,
  items: Sequence[Item],
  pool: Pool,
  choices: Choices,
  k: int,
  *,
  seed: int = 0,
  normalize: str = "none",
  policy: str = "error",
  blanks: bool | None = None,
) -> FewShotResult:
  """Answers each item with its most likely choice, the first in a tie.

  Args:
    restored: a model of any family.
    layout: of the prompts.
    items: questions with their answers.
    pool: solved items for examples, or a function from an item to them; items with the same question are
      excluded.
    choices: possible answers of an item.
    k: number of examples.
    seed: of their choice.
    normalize: whether log-probabilities are compared as they are (none), or over the tokens or bytes of a choice,
      which favours long ones.
    policy: beyond the window: error, or truncate.
    blanks: whether prompts have a blank for the answer; None follows the model's training objective.

  Raises:
    UserError: for an unknown normalization, an item without choices, or as in `likelihood.answer_likelihoods`.
  """
  if normalize not in NORMALIZATIONS:
    raise UserError(f"normalize {normalize!r} is unknown; choose one of {', '.join(NORMALIZATIONS)}")
  prompts, offered = (
    _prompts(restored, layout, items, pool, k, seed, blanks),
    [list(choices(item)) for item in items],
  )
  if not all(offered):
    raise UserError(f"item {offered.index([])} has no choices; give at least one")
  pairs = [(prompt.text, choice) for prompt, each in zip(prompts, offered, strict=True) for choice in each]
  # All pairs in one call: rows of similar length fill batches across questions.
  likelihoods = iter(likelihood.answer_likelihoods(restored, pairs, policy=policy))
  answers = []
  for item, prompt, each in zip(items, prompts, offered, strict=True):
    judged = {choice: next(likelihoods) for choice in each}
    best = max(each, key=lambda choice: _normalized(judged[choice], normalize))
    nats = {choice: choice_likelihood.log_probability for choice, choice_likelihood in judged.items()}
    answers.append(_answered(restored, prompt, item[layout.answer], best, nats))
  return summarize_answers(k, answers)


def by_generation(
  restored: LoadedModel,
  layout: PromptLayout,
  items: Sequence[Item],
  pool: Pool,
  k: int,
  *,
  seed: int = 0,
  stop: Sequence[str] = ("\n",),
  max_tokens: int = 16,
  policy: str = "error",
  batch: int = 32,
  blanks: bool | None = None,
) -> FewShotResult:
  """Answers each item by greedy generation; spaces around an answer are ignored.

  Args:
    restored: a model of any family; an encoder fills one blank.
    layout: of the prompts.
    items: questions with their answers.
    pool: solved items for examples, or a function from an item to them; items with the same question are
      excluded.
    k: number of examples.
    seed: of their choice.
    stop: texts that end an answer.
    max_tokens: of an answer.
    policy: beyond the window: error, truncate or slide.
    batch: questions per batch.
    blanks: whether prompts have a blank for the answer; None follows the model's training objective.

  Raises:
    UserError: as in `text.stream_answers`.
  """
  prompts = _prompts(restored, layout, items, pool, k, seed, blanks)
  answers = []
  for begin in range(0, len(prompts), batch):
    part = prompts[begin : begin + batch]
    texts = [text_written.text for text_written in part]
    (written,) = text.stream_answers(
      # Greedy decoding draws nothing; the key is only an argument.
      restored, texts, GREEDY, jax.random.key(0),
      max_tokens=max_tokens, window=policy, stop_strings=tuple(stop),
    )  # fmt: skip
    for item, prompt, text_written in zip(items[begin : begin + batch], part, written, strict=True):
      answer_text = _given(restored, prompt, text_written)
      answers.append(_answered(restored, prompt, item[layout.answer], answer_text.strip(), {}))
  return summarize_answers(k, answers)


def summarize_answers(k: int, answers: Sequence[ScoredAnswer]) -> FewShotResult:
  """Returns the accuracy of answers with its interval.

  Raises:
    UserError: for no answers.
  """
  if not answers:
    raise UserError("there is no item to evaluate on; give at least one")
  right = sum(answer.correct for answer in answers)
  # Wilson's interval stays within [0, 1] and covers few questions too, unlike the normal one.
  ends = stats.binomtest(right, len(answers)).proportion_ci(0.95, method="wilson")
  shares = [answer.share for answer in answers if answer.share is not None]
  share = math.fsum(shares) / len(shares) if shares else None
  return FewShotResult(k, right / len(answers), float(ends.low), float(ends.high), share, list(answers))


def _prompts(
  restored: LoadedModel,
  layout: PromptLayout,
  items: Sequence[Item],
  pool: Pool,
  k: int,
  seed: int,
  blanks: bool | None,
) -> list[prompts.FewShotPrompt]:
  for row, item in enumerate(items):
    if layout.answer not in item:
      raise UserError(f"item {row} has no {layout.answer!r}, the expected answer; add it")
  blank = prompts.blank_of(restored.model.family, restored.reading.objective)
  if blanks is not None:
    blank = text.BLANK if blanks else None
  pools = (pool(item) if callable(pool) else pool for item in items)
  return [layout.few_shot(item, each, k, seed, blank) for item, each in zip(items, pools, strict=True)]


def _given(restored: LoadedModel, prompt: prompts.FewShotPrompt, written: text.TextAnswer) -> str:
  """Returns the answer in generated text: the content of the blank for a model that fills blanks."""
  if restored.model.family == "decoder" or restored.model.recurrent:
    return written.text
  tokenizer = restored.tokenizer
  plain = [int(i) for i in written.tokens if i < tokenizer.vocab and not tokenizer.is_special(int(i))]
  decoded = tokenizer.decode(plain)
  before, blank, after = prompt.text.partition(text.BLANK)
  copies = restored.model.family == "encoder_decoder" and not restored.reading.objective.startswith(
    "span_corruption"
  )
  if copies and blank and decoded.startswith(before):  # the model repeats the complete text
    return (
      # The last occurrence, because an answer may contain the text after the blank.
      decoded[len(before) : decoded.rfind(after)] if after and after in decoded else decoded[len(before) :]
    )
  return decoded


def _normalized(answer: likelihood.AnswerLikelihood, by: str) -> float:
  # Sums of nats favor short choices.
  return answer.log_probability / {"none": 1, "tokens": answer.tokens, "bytes": max(1, answer.bytes)}[by]


def _answered(
  restored: LoadedModel, prompt: prompts.FewShotPrompt, expected: str, answer: str, nats: dict[str, float]
) -> ScoredAnswer:
  tokens, bare = (
    len(text.prompt_ids(restored, question_text)) for question_text in (prompt.text, prompt.bare)
  )
  right = answer.strip() == expected.strip()
  size = decoders.window_length(restored.model)
  return ScoredAnswer(
    prompt.text, prompt.examples, expected, answer, right, nats, tokens, tokens - bare, size
  )
