"""What a plan was asked, and the law that answers.

N parameters, D tokens, C training FLOPs.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class LawDescription:
  """The law behind a plan.

  Attributes:
    name: of the law.
    source: paper, or the runs that it was fitted to.
    columns: what was taken for what in the runs' file, in sentences.
    counting: convention of N.
    k: training FLOPs per parameter and token.
    intervals: method of the intervals, or the reason why there are none.
    level: coverage of the intervals; None without intervals.
  """

  name: str
  source: str
  columns: tuple[str, ...]
  counting: str
  k: float
  intervals: str
  level: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class NamedModel:
  """A published model or a preset.

  Attributes:
    name: its usual name.
    params: N.
    tokens: D that it was trained on; None if unknown.
    source: paper, model card, or preset.
    unconfirmed: the value that no source confirms, or "".
    counting: convention of `params`.
    family: encoder, decoder, ...
  """

  name: str
  params: float
  tokens: float | None
  source: str
  unconfirmed: str
  counting: str
  family: str


@dataclasses.dataclass(frozen=True, slots=True)
class PlanQuestion:
  """The question to a plan: C, N and D (None if not given), and the model that a name stands for."""

  flops: float | None
  params: float | None
  tokens: float | None
  model: NamedModel | None
