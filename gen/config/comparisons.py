"""Configs of studies that compare texts by training on them at equal FLOPs."""

import dataclasses

from gen.config import field_ranges, validation
from gen.config.curation import Curation, check_curation
from gen.config.sweep import Sweep
from gen.errors import UserError

MAX_ARMS = 16  # of one study


@dataclasses.dataclass
class DomainStudy:
  """A domain against general text: adapting a general model, or pre-training on the domain alone."""

  name: str = ""  # also the folder under runs/ where no --workdir is given
  # Model, tokenizer, optimizer, budgets in FLOPs with one width each, and seeds; its data.corpus is not read.
  sweep: Sweep = dataclasses.field(default_factory=Sweep)
  replays: tuple[float, ...] = (0.0, 0.1, 0.3)  # shares of general text in the second phase of adapting
  # Of a budget that the second phase of adapting gets; chosen: half, so that both texts weigh alike.
  domain_share: float = 0.5
  adaptation_rate: float = 1.0  # of the second phase: multiple of the rule's learning rate
  # Chosen: some 100,000 tokens, whose mean has a small error next to that of seeds.
  held_out_bytes: int = 500_000  # of each held-out text
  max_overlap: float = (
    0.05  # share of one text's held-out characters that may stand in the other's training text
  )
  # Chosen: at 2,000 the scores of models of this size differ by their pre-training and no longer by their luck.
  task_examples: int = 2_000  # labelled texts of --task that each fine-tuning reads
  task_seeds: int = 0  # seeds that are fine-tuned; 0: all
  confidence: float = 0.9  # of all intervals


@dataclasses.dataclass
class CurationStudy:
  """Raw text against the text that each stage of a curation leaves, and against that text repeated."""

  name: str = ""  # also the folder under runs/ where no --workdir is given
  curation: Curation = dataclasses.field(default_factory=Curation)  # stages and their parameters
  # Model, tokenizer, optimizer, budgets in FLOPs with one width each, and seeds; its data.corpus is not read.
  sweep: Sweep = dataclasses.field(default_factory=Sweep)
  after: tuple[str, ...] = ()  # stages after which runs are trained; empty: each that changes the text
  repetitions: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0)  # epochs of runs on a part of the final text
  # Chosen: as in a study of a domain.
  held_out_bytes: int = 500_000  # of the text that judges
  # Chosen: quotations and boilerplate reach a few percent; more is a leak.
  max_overlap: float = 0.05  # share of that text's characters that may stand in the raw text
  confidence: float = 0.9  # of all intervals


def check_curation_study(study: CurationStudy) -> None:
  """Checks what a study of a curation needs beyond what its sweep needs.

  Raises:
    UserError: with one sentence, at the first mistake.
  """
  validation.check_ranges(study, field_ranges.COMPARISON, "config.")
  check_curation(study.curation)
  stages = [name for name in study.curation.stages if name not in study.curation.without]
  for name in study.after:
    if name not in stages:
      raise UserError(f"config.after holds {name!r}; it must be one of {', '.join(stages)}")
  if len(study.repetitions) > MAX_ARMS:
    raise UserError(f"config.repetitions holds {len(study.repetitions)} numbers; give at most {MAX_ARMS}")
  for epochs in study.repetitions:
    if not field_ranges.EPOCHS.holds(epochs):
      raise UserError(
        f"config.repetitions holds {epochs}; epochs of repeated text must be above 1, at most 1,000"
      )
  if sorted(set(study.repetitions)) != list(study.repetitions):
    raise UserError(f"config.repetitions is {study.repetitions}; give each number once, in ascending order")
  check_compared_sweep(study.sweep)


def check_domain_study(study: DomainStudy) -> None:
  """Checks what a study of a domain needs beyond what its sweep needs.

  Raises:
    UserError: with one sentence, at the first mistake.
  """
  validation.check_ranges(study, field_ranges.DOMAIN, "config.")
  if not study.replays or len(study.replays) > MAX_ARMS:
    raise UserError(
      f"config.replays holds {len(study.replays)} shares; give 1 to {MAX_ARMS}, as in (0.0, 0.1)"
    )
  for replay in study.replays:
    if not field_ranges.FRACTION.holds(replay):
      raise UserError(f"config.replays holds {replay}; a share of general text must be in [0, 1)")
  if len({replay_percent(replay) for replay in study.replays}) < len(study.replays):
    raise UserError(
      f"config.replays is {study.replays}, with one share twice; shares may differ by .001 or more"
    )
  check_compared_sweep(study.sweep)


def replay_percent(replay: float) -> str:
  """Returns a share as a percentage for names.

  >>> replay_percent(0.1), replay_percent(0.125)
  ('10', '12.5')
  """
  return f"{round(100 * replay, 1):g}"


def check_compared_sweep(sweep: Sweep) -> None:
  """Checks that a sweep is one of comparisons at equal FLOPs: one width a budget, the same seeds at all budgets.

  Raises:
    UserError: with one sentence, at the first mistake.
  """
  if sweep.budget_unit != "flops":
    raise UserError(f"config.sweep.budget_unit is {sweep.budget_unit!r}; texts are compared at equal flops")
  if list(sweep.budgets) != sorted(sweep.budgets):
    raise UserError(f"config.sweep.budgets is {sweep.budgets}; give them in ascending order")
  for widths in sweep.widths:
    if len(widths) != 1:
      raise UserError(
        f"config.sweep.widths holds {widths}; give one width for each budget, as in ((48,), (64,))"
      )
  if len(set(sweep.seeds)) > 1:
    raise UserError(f"config.sweep.seeds is {sweep.seeds}; intervals pair seeds, so give each budget as many")
  for name in ("trunks", "held_out", "learning_rate_multipliers", "start_from"):
    if getattr(sweep, name):
      raise UserError(f"config.sweep.{name} is set, but runs that are compared do not use it; leave it out")
  if sweep.data.objective != "causal" or sweep.data.stream:
    field = "stream" if sweep.data.stream else "objective"
    raise UserError(
      f"config.sweep.data.{field} is {getattr(sweep.data, field)!r}, but bits per byte are compared of next-token "
      f"prediction in separate rows; set {'it to False' if sweep.data.stream else 'it to causal'}"
    )
