"""The members of a study of labelled examples, and how a worker evaluates those that are not fine-tuned.

    full_128_seed_0             fine-tuned by a method on 128 examples
    tfidf_128_seed_0            a classifier of their word counts
    prompt_8_seed_0             8 of them in the prompt of the untrained model
    start_2_full_128_seed_0     the second other start of --starts, fine-tuned on the most examples

Few labels leave none to choose a step by, so a fine-tuning ends with its last step.
"""

import dataclasses
from collections.abc import Sequence

from gen.data.tasks.examples import TaskData
from gen.errors import UserError
from gen.evaluation.metrics.score import score_predictions
from gen.evaluation.words import bag_of_words
from gen.finetuning import finetune, prompted
from gen.finetuning.settings import METHODS, FinetuneSettings
from gen.finetuning.sweep_members import MemberRow, SweepMember, score_row
from gen.finetuning.task_forms import forms
from gen.generation import loaded_model
from gen.training import start_source

PROMPT, WORDS = "prompt", "tfidf"
MAX_PROMPTED = 32  # solved examples in a prompt
NEVER = 2**31 - 1  # steps between evaluations


def make_members(
  settings: FinetuneSettings, methods: Sequence[str], counts: Sequence[int], seeds: int, starts: Sequence[str]
) -> dict[str, SweepMember]:
  """Returns the members of a study by name, those of few examples first.

  Args:
    settings: that all share.
    methods: full, lora, head, last:N, prompt and tfidf.
    counts: numbers of labelled examples, ascending.
    seeds: number of seeds, counted from the settings' own; each chooses other examples.
    starts: further checkpoints, which are fine-tuned by the first method on the most examples.

  Raises:
    UserError: for an unknown method, or one that the task does not have.
  """
  for method in methods:
    if method.partition(":")[0] not in (*METHODS, PROMPT, WORDS):
      raise UserError(f"method {method!r} is none of {', '.join((*METHODS, PROMPT, WORDS))}")
    if method == WORDS and settings.task != "classify":
      raise UserError(
        f"{WORDS} classifies texts, and the task is {settings.task}; leave {WORDS} out of --methods"
      )
  tuned = [method for method in methods if method not in (PROMPT, WORDS)]
  if starts and not tuned:
    raise UserError(
      "--starts needs a method that fine-tunes; name full, lora, head or last:N first in --methods"
    )
  members = {}
  if PROMPT in methods:
    members[f"{PROMPT}_0"] = _member(settings, PROMPT, 0, settings.seed)
  for count in counts:
    for method in methods:
      if method != PROMPT or count <= MAX_PROMPTED:
        for seed in range(settings.seed, settings.seed + seeds):
          members[f"{_plain(method)}_{count}_seed_{seed}"] = _member(settings, method, count, seed)
  for number, start in enumerate(starts, 1):
    for seed in range(settings.seed, settings.seed + seeds):
      other = dataclasses.replace(settings, start_from=start)
      name = f"start_{number}_{_plain(tuned[0])}_{counts[-1]}_seed_{seed}"
      members[name] = _member(other, tuned[0], counts[-1], seed)
  for member in members.values():
    member.settings.check()
  return members


def _plain(method: str) -> str:
  return method.replace(":", "_")


def _member(settings: FinetuneSettings, method: str, count: int, seed: int) -> SweepMember:
  shared = dataclasses.replace(settings, limit=count, seed=seed, patience=0, evaluate_every=NEVER)
  if method == PROMPT:
    return SweepMember(dataclasses.replace(shared, few_shot=count), "prompt", keep_model=False)
  if method == WORDS:
    return SweepMember(shared, "words", keep_model=False)
  tuned = dataclasses.replace(shared, method=method, prompted_examples=0)
  return SweepMember(tuned, "finetune", keep_model=False)


def evaluate_untrained(member: SweepMember) -> MemberRow:
  """Returns the row of a member that is not fine-tuned."""
  settings = member.settings
  data = finetune.read_data(settings, lambda line: None)
  if member.kind == "words":
    values = bag_of_words.predict_by_words(data.train, data.test)
    by_words = score_predictions(settings.task, values, data.test, labels=data.labels)
    return score_row(WORDS, len(data.train), settings.seed, by_words)
  folder, step = start_source.split_step(settings.start_from)
  asked = prompted.ask_model(loaded_model.load_model(folder, step), settings, data, (settings.few_shot,))
  taken = max(map(int, asked.scores), default=0)
  score = asked.scores.get(str(taken))
  return score_row(PROMPT, taken, settings.seed, score, asked.note)


def choose_methods(methods: Sequence[str], data: TaskData) -> Sequence[str]:
  """Returns the methods that were named, or those that suit the data.

  Raises:
    UserError: for a named method that needs classes, where the labels are numbers.
  """
  if forms.is_regression(data):
    for method in (PROMPT, WORDS):
      if method in methods:
        raise UserError(
          f"{method} answers with classes, and the labels are numbers; leave {method} out of --methods"
        )
    return methods or ("full", "lora", "head")
  return methods or (
    ("full", "lora", "head", PROMPT, WORDS) if data.task == "classify" else ("full", "lora", PROMPT)
  )


def bound_counts(data: TaskData, counts: Sequence[int]) -> tuple[int, ...]:
  """Returns the numbers of examples, ascending; all training examples stand for any larger number."""
  return tuple(sorted({min(count, len(data.train)) for count in counts}))
