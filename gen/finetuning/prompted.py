"""The same model without fine-tuning, asked by a prompt: with no example, and with a few solved ones in front.

A decoder and an encoder-decoder write the answer, or choose the likeliest class. An encoder with a
masked-language-model head fills a blank with each class.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

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
SHARE = 0.5  # of a row, that solved examples may take


def prompt_model(
  loaded: LoadedModel, settings: FinetuneSettings, data: TaskData
) -> tuple[dict[str, Score], str]:
  """Returns the scores of a model's prompted answers by the number of examples in the prompt, and a note.

  Args:
    loaded: the model before fine-tuning.
    settings: prompted_examples, few_shot, prompt and seed.
    data: of the task.
  """
  asked = data.test[: settings.prompted_examples]
  if not asked:
    return {}, "not asked for"
  if settings.task == "instruct":
    return {}, "not defined for dialogues"
  if loaded.model.family == "encoder":
    return _ask_encoder(loaded, data, asked)
  if not loaded.reading.head:
    return {}, "not defined for a model without a language-model head"
  try:
    form = forms.make_text_form(loaded, _as_text(settings), data)
    scores, count = {"0": _ask(form, data, asked)}, settings.few_shot
    before, count = _solved(form, data.train, count, settings.seed) if count else ("", 0)
    if count:
      scores[str(count)] = _ask(form, data, asked, before)
  except UserError as error:
    return {}, f"could not be asked: {error}"
  note = (
    f"on the first {len(asked):,} of {len(data.test):,} test examples" if len(asked) < len(data.test) else ""
  )
  if settings.few_shot and count < settings.few_shot:
    few = f"{count} of {settings.few_shot} solved examples fit" if count else "no solved example fits"
    note = "; ".join(filter(None, [note, f"{few} into half of the window"]))
  return scores, note


def _as_text(settings: FinetuneSettings) -> FinetuneSettings:
  return dataclasses.replace(settings, form="text", long="truncate")


def _solved(form: TextForm, train: Sequence[Any], count: int, seed: int) -> tuple[str, int]:
  """Returns up to `count` solved examples as one text, and their number: as many as fit into half of a row."""
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
    text = f"{example.text} {example.second_text}".replace(BLANK, " ").strip()
    cut = tokenizer.decode(tokenizer.encode(text)[: max(1, room - 2)])
    pairs += [(cut + cue, label) for label in data.labels]
  try:
    found = likelihood.answer_likelihoods(loaded, pairs)
  except UserError as error:
    return {}, f"could not be asked: {error}"
  means = np.array([answer.log_probability / answer.tokens for answer in found]).reshape(len(asked), -1)
  values = [data.labels[int(row.argmax())] for row in means]
  note = f"a blank filled, on the first {len(asked):,} of {len(data.test):,} test examples"
  return {"0": score_predictions(data.task, values, asked, labels=data.labels)}, note
