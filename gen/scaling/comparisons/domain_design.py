"""The runs that set a domain beside general text, as sweeps: each way of spending a budget is an arm.

    general         all FLOPs on general text
    adapted_R       a part on general text, then `start_from` that model on the domain with R % of general text
    scratch         all FLOPs on the domain, with the tokenizer of the general text
    scratch_own     all FLOPs on the domain, with a tokenizer of its own

The phases of an adapted run are two runs, each with a schedule of its own. The second gets the budget less the exact
FLOPs of the first, so that both together end within half a step of the budget.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from gen.config import Data, Run, Sweep
from gen.config.comparisons import DomainStudy, replay_percent
from gen.config.mixture import MixtureCorpus
from gen.data.tokenizers.subwords import SubwordTokenizer
from gen.scaling.sweeps import design
from gen.training.run_folders import run_length

GENERAL, FIRST, SCRATCH, SCRATCH_OWN, ADAPTED = (
  "general",
  "general_first",
  "scratch",
  "scratch_own",
  "adapted",
)
WORDS = "tfidf"  # of a task: a classifier of word counts, without a model


class DomainTexts(NamedTuple):
  """Where the runs of a study of a domain read from.

  Attributes:
    general: corpus of general text.
    domain: corpus of the domain.
    tokenizer: of the general text, as data.tokenizer: a folder where it was trained.
  """

  general: str
  domain: str
  tokenizer: str


class SecondPhase(NamedTuple):
  """One adapted run: its arm, the run that it starts from, and its own sweep of a single run."""

  arm: str
  first: Run
  sweep: Sweep


def arm_title(arm: str) -> str:
  """Returns an arm's name for people.

  >>> arm_title("adapted_10"), arm_title("scratch_own")
  ('general, then domain with 10 % replay', 'domain from scratch, own tokenizer')
  """
  if arm.startswith(ADAPTED):
    return f"general, then domain with {arm.removeprefix(ADAPTED + '_')} % replay"
  return {
    GENERAL: "general text only",
    FIRST: "general text, first phase",
    SCRATCH: "domain from scratch, general tokenizer",
    SCRATCH_OWN: "domain from scratch, own tokenizer",
    WORDS: "word counts, no model",
  }[arm]


def replay_of(arm: str) -> float:
  """Returns the share of general text in the last phase of an arm that ends on the domain.

  >>> replay_of("adapted_12.5"), replay_of("scratch")
  (0.125, 0.0)
  """
  return float(arm.removeprefix(f"{ADAPTED}_")) / 100 if arm.startswith(ADAPTED) else 0.0


def has_own_tokenizer(study: DomainStudy) -> bool:
  """Returns whether the tokenizer is one that is trained on the corpus, so that a domain can have its own."""
  return study.sweep.data.tokenizer in SubwordTokenizer.KINDS


def first_sweeps(study: DomainStudy, texts: DomainTexts) -> dict[str, Sweep]:
  """Returns the sweeps that need no other run, by arm."""
  base = study.sweep
  general = _with_data(base, texts.general, base.data.tokenizer)
  first = dataclasses.replace(general, budgets=tuple(c * (1 - study.domain_share) for c in base.budgets))
  sweeps = {
    GENERAL: general,
    FIRST: first,
    SCRATCH: _with_data(base, texts.domain, texts.tokenizer),
  }
  if has_own_tokenizer(study):
    sweeps[SCRATCH_OWN] = _with_data(base, texts.domain, base.data.tokenizer)
  return sweeps


def second_phases(
  study: DomainStudy, texts: DomainTexts, first_runs: Sequence[Run], folder: str
) -> list[SecondPhase]:
  """Returns the adapted runs, each a sweep of its own, because each starts from another run.

  Args:
    study: the study.
    texts: where its runs read from.
    first_runs: finished runs of the first phase.
    folder: of the runs of the first phase.
  """
  base, phases = study.sweep, []
  for replay in study.replays:
    for run in first_runs:
      budget = study_budget(study, run)
      spent = run_length.count_steps(run) * design.flops_per_step(run)
      number = base.budgets.index(budget)
      sweep = dataclasses.replace(
        _with_data(base, texts.domain, texts.tokenizer, texts.general, replay),
        budgets=(budget - spent,),
        widths=(base.widths[number],),
        batches=(base.batches[number],) if base.batches else (),
        seeds=(1,),
        seed=run.seed,
        start_from=f"{folder}/{run.name}",
      )
      rate = base.optimizer.peak_learning_rate * study.adaptation_rate
      sweep.optimizer = dataclasses.replace(base.optimizer, peak_learning_rate=rate)
      phases.append(SecondPhase(f"{ADAPTED}_{replay_percent(replay)}", run, sweep))
  return phases


def study_budget(study: DomainStudy, first_run: Run) -> float:
  """Returns the whole budget of which a run of the first phase spends a part."""
  return min(study.sweep.budgets, key=lambda budget: abs(budget * (1 - study.domain_share) - first_run.flops))


def _with_data(base: Sweep, corpus: str, tokenizer: str, general: str = "", replay: float = 0.0) -> Sweep:
  """Returns the sweep on a corpus, with a share of rows of general text mixed in."""
  data: Data = dataclasses.replace(base.data, corpus=corpus, tokenizer=tokenizer)
  if replay:
    parts = MixtureCorpus("domain", corpus, 1 - replay), MixtureCorpus("general", general, replay)
    data = dataclasses.replace(data, mixture=parts)
  return dataclasses.replace(base, data=data)
