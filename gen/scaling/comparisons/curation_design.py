"""The runs that show what a curation is worth, as sweeps: one for each text, and one for each part that is repeated.

raw, STAGE          the same FLOPs on the raw text, and on the text after a stage
repeat_E/BUDGET     the final text's first D / E tokens, read E times, for a budget that reads D tokens
"""

import dataclasses
from collections.abc import Mapping, Sequence

from gen.config import Run, Sweep
from gen.config.comparisons import CurationStudy
from gen.training.run_folders import run_length

RAW, REPEAT = "raw", "repeat"


def stage_sweeps(study: CurationStudy, corpora: Mapping[str, str], tokenizer: str) -> dict[str, Sweep]:
  """Returns the sweep of each text.

  Args:
    study: the study.
    corpora: data.corpus by stage, the raw text first.
    tokenizer: of all runs, as data.tokenizer.
  """
  return {stage: _sweep_on(study.sweep, corpus, tokenizer) for stage, corpus in corpora.items()}


def repetition_sweeps(
  study: CurationStudy, corpus: str, tokenizer: str, runs: Sequence[Run], available: int
) -> dict[str, Sweep]:
  """Returns the sweeps of repeated text: one budget each, because the part depends on the tokens of the budget.

  Args:
    study: the study.
    corpus: the final text.
    tokenizer: of all runs.
    runs: on the final text.
    available: training tokens of the final text; parts that are no smaller are left out.
  """
  sweeps = {}
  for epochs in study.repetitions:
    for number, budget in enumerate(study.sweep.budgets):
      run = next(run for run in runs if run.flops == budget)
      unique = int(tokens_read(run) / epochs)
      if unique >= available:
        continue
      sweep = _sweep_on(study.sweep, corpus, tokenizer)
      sweeps[f"{REPEAT}_{epochs:g}/{number}"] = dataclasses.replace(
        sweep,
        budgets=(budget,),
        widths=(study.sweep.widths[number],),
        batches=(study.sweep.batches[number],) if study.sweep.batches else (),
        seeds=(study.sweep.seeds[number],) if study.sweep.seeds else (),
        data=dataclasses.replace(sweep.data, unique_tokens=unique),
      )
  return sweeps


def tokens_read(run: Run) -> int:
  """Returns D of a completed run."""
  return run_length.count_steps(run) * run.data.batch * run_length.row_length(run).tokens


def _sweep_on(base: Sweep, corpus: str, tokenizer: str) -> Sweep:
  return dataclasses.replace(base, data=dataclasses.replace(base.data, corpus=corpus, tokenizer=tokenizer))
