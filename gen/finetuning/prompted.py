"""The same model without fine-tuning, asked by a prompt: with no example, and with a few solved ones in front.

A decoder and an encoder-decoder write the answer, or choose the likeliest class. An encoder with a
masked-language-model head fills a blank with each class.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gen.data.tasks import splits
from gen.data.tasks.examples import TaskData
from gen.errors import UserError
from gen.evaluation import likelihood
from gen.evaluation.metrics.score import Score, score_predictions
from gen.finetuning import model_inputs
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms import forms, prompt_texts, text_form
from gen.finetuning.task_forms.text_form import MAX_CHOICES, TextForm
from gen.generation.loaded_model import LoadedModel
from gen.generation.text import BLANK

SEPARATOR = "\n\n"  # between solved examples
# Of a row, that solved examples may take; chosen: the question must have as much room as all examples.
SHARE = 0.5


class AskedModel(NamedTuple):
  """A model's prompted answers.

  Attributes:
    scores: by the number of solved examples in the prompt; empty if the model could not be asked.
    note: on how many test examples, or why there are none.
  """

  scores: dict[str, Score]
  note: str


def prompt_model(loaded: LoadedModel, settings: FinetuneSettings, data: TaskData) -> AskedModel:
  """Returns the scores of a model's prompted answers: with no example, and with `settings.few_shot` of them.

  Args:
    loaded: the model before fine-tuning.
    settings: prompted_examples, few_shot, prompt and seed.
    data: of the task.
  """
  return ask_model(loaded, settings, data, (0, settings.few_shot))


def ask_model(
  loaded: LoadedModel, settings: FinetuneSettings, data: TaskData, counts: Sequence[int]
) -> AskedModel:
  """Returns the scores of a model's prompted answers with several numbers of solved examples.

  Args:
    loaded: the model before fine-tuning.
    settings: prompted_examples, prompt and seed.
    data: of the task.
    counts: numbers of solved examples; as many of each as fit into half of the window are taken.
  """
  asked = splits.draw_examples(data.test, settings.prompted_examples)
  if not asked:
    return AskedModel({}, "not asked for")
  if settings.task == "instruct":
    return AskedModel({}, "not defined for dialogues")
  if forms.is_regression(data):
    return AskedModel({}, "not defined for numbers")
  if loaded.model.family == "encoder":
    return AskedModel(*_ask_encoder(loaded, data, asked))
  if not loaded.reading.head:
    return AskedModel({}, "not defined for a model without a language-model head")
  scores: dict[str, Score] = {}
  notes = [_sample_note(asked, data)] * (len(asked) < len(data.test))
  try:
    form = forms.make_text_form(loaded, _as_text(settings), data)
    for count in dict.fromkeys(counts):
      before, taken = _solved(form, data.train, count, settings.seed) if count else ("", 0)
      if str(taken) not in scores and (taken or not count):
        scores[str(taken)] = _ask(form, data, asked, before)
      if taken == len(data.train) < count:
        notes.append(f"there are {taken} solved examples, and {count} were asked for")
      elif taken < count:
        few = f"{taken} of {count} solved examples fit" if taken else "no solved example fits"
        notes.append(f"{few} into half of the window")
  except UserError as error:
    return AskedModel({}, f"could not be asked: {error}")
  return AskedModel(scores, "; ".join(notes))


def _sample_note(asked: Sequence[Any], data: TaskData) -> str:
  drawn = ", drawn at random" if len(asked) < len(data.test) else ""
  return f"on {len(asked):,} of {len(data.test):,} test examples{drawn}"


def _as_text(settings: FinetuneSettings) -> FinetuneSettings:
  return dataclasses.replace(settings, form="text", long="truncate")


def _solved(form: TextForm, train: Sequence[Any], count: int, seed: int) -> tuple[str, int]:
  """Returns up to `count` solved examples as one text, and their number: as many as fit into half of a row."""
  # Four times as many as needed, since long examples are passed over; 3 parts this stream from others of the seed.
  drawn = np.random.default_rng((seed, 3)).permutation(len(train))[: 4 * count].tolist()
  room = int(SHARE * form.room)
  taken: list[str] = []
  for number in drawn:
    example = train[number]
    solved = form.prompt.fill(example) + form.prompt.answer(example)
    if len(form.loaded.tokenizer.encode(SEPARATOR.join([*taken, solved, ""]))) <= room:
      taken.append(solved)
    if len(taken) == count:
      break
  return SEPARATOR.join([*taken, ""]) if taken else "", len(taken)


def _ask(form: TextForm, data: TaskData, asked: Sequence[Any], before: str = "") -> Score:
  if form.task == "classify" and len(form.labels) <= MAX_CHOICES:
    values = [each.value for each in text_form.choose_labels(form, form.loaded, asked, "test", before)]
  else:
    # A decoder that was not trained to end its answers ends them at the end of a line.
    stop = () if form.loaded.model.family == "encoder_decoder" else ("\n",)
    written = text_form.write_answers(form.loaded, form.prompts(asked, "test", before), form.max_new, stop)
    values = [
      prompt_texts.read_answer(form.task, answer, example, form.labels)
      for example, (answer, _) in zip(asked, written, strict=True)
    ]
  return score_predictions(form.task, values, asked, labels=data.labels)


def _ask_encoder(loaded: LoadedModel, data: TaskData, asked: Sequence[Any]) -> tuple[dict[str, Score], str]:
  """Returns the score of the class that fills a blank after the text best, by the mean over its tokens."""
  if data.task != "classify":
    return {}, "not defined for an encoder with a head"
  if not loaded.reading.head or loaded.tokenizer.mask is None:
    return {}, "not defined for an encoder without a masked-language-model head"
  if len(data.labels) > MAX_CHOICES:
    return {}, f"not asked with more than {MAX_CHOICES} classes"
  tokenizer, length = loaded.tokenizer, model_inputs.row_length(loaded, 0)
  longest = max(len(tokenizer.encode(label)) for label in data.labels)
  cue = f" Label: {BLANK}."
  room = (
    length - longest - len(tokenizer.encode(cue)) - len(loaded.reading.before) - len(loaded.reading.after)
  )
  pairs = []
  for example in asked:
    # A blank in the data would be a second blank of the prompt.
    text = f"{example.text} {example.second_text}".replace(BLANK, " ").strip()
    # Two tokens less than the room: text that is joined to the cue may be split otherwise.
    cut = tokenizer.decode(tokenizer.encode(text)[: max(1, room - 2)])
    pairs += [(cut + cue, label) for label in data.labels]
  try:
    found = likelihood.answer_likelihoods(loaded, pairs)
  except UserError as error:
    return {}, f"could not be asked: {error}"
  # By token, or a class of two tokens would lose to one of a single token by its length.
  means = np.array([answer.log_probability / answer.tokens for answer in found]).reshape(len(asked), -1)
  values = [data.labels[int(row.argmax())] for row in means]
  note = f"a blank filled, without solved examples, {_sample_note(asked, data)}"
  return {"0": score_predictions(data.task, values, asked, labels=data.labels)}, note
