"""Warnings about a plan: extrapolation, wide intervals, unusual shapes, units."""

import math

from gen.scaling.planning import published
from gen.scaling.planning.law_source import LawSource
from gen.scaling.planning.plan_records import Plan
from gen.scaling.runs import units

_FAR = (
  30.0  # times the largest budget of a published law's runs: beyond, an extrapolation that is worth a warning
)
_ABOVE = 1.02  # times the largest of a reader's own runs; chosen: rounding of shapes reaches two percent
_SMALLEST = 5e6  # parameters; published laws rest on models of tens of millions and more
_MAX_EPOCHS = 40.0  # of Muennighoff et al. 2023: beyond, repeating did harm
# Factor in tokens a parameter between a law and the rule of thumb; chosen: laws of one text differ by less.
_CONTRADICTS = 1.5


def times_beyond(known: LawSource, report: Plan) -> dict[str, float | None]:
  """Returns the factors by which a plan exceeds the largest budget, model and data of its law; None if unknown."""
  ratios = {"flops": report.flops / known.largest, "N": math.nan, "D": math.nan}
  if known.runs is not None:
    ratios["N"] = report.N / float(known.runs.params.max())
    ratios["D"] = report.D / float(known.runs.tokens.max())
  return {name: value if math.isfinite(value) else None for name, value in ratios.items()}


def rule_notes(report: Plan) -> list[str]:
  """Returns notes on where and why the law contradicts the rule of 20 tokens per parameter."""
  name, ratio = report.law.name, report.tokens_per_parameter
  if name not in published.LAWS or 1 / _CONTRADICTS < ratio / published.RULE < _CONTRADICTS:
    return []
  sentence = (
    f"{name} gives {ratio:.3g} tokens a parameter here, where the rule of thumb says {published.RULE:g}"
  )
  caution = published.LAWS[name].caution
  return [f"{sentence}: {caution}" if caution else sentence]


def plan_warnings(known: LawSource, report: Plan) -> list[str]:
  """Returns one sentence for each reason to distrust the plan."""
  return [*_extrapolation(known, report), *_counts(known, report), *_intervals(report), *_parts(report)]


def _extrapolation(known: LawSource, report: Plan) -> list[str]:
  times = report.beyond
  if known.runs is None:
    if (times["flops"] or 0) > _FAR:
      return [
        f"{report.flops:.3g} FLOPs are {times['flops']:.3g} times the largest budget behind the law: extrapolated"
      ]
    if known.name in published.LAWS and report.N < _SMALLEST:
      return [
        f"{report.N:.3g} parameters are far below the models behind published laws: extrapolated downwards"
      ]
    return []
  names = {"flops": "budget", "N": "model", "D": "data"}
  far = [
    f"{times[name]:.3g} times their largest {what}"
    for name, what in names.items()
    if (times[name] or 0) > _ABOVE
  ]
  return (
    [f"the plan lies beyond your runs, at {', '.join(far)}: it trusts the form of the law there"]
    if far
    else []
  )


def _counts(known: LawSource, report: Plan) -> list[str]:
  sentences = []
  model = report.question.model
  if model is not None and model.counting != known.counting:
    sentences.append(f"N of {model.name} counts {model.counting} parameters, N of the law {known.counting}")
  if model is not None and model.unconfirmed:
    sentences.append(f"the {model.unconfirmed} of {model.name} were not confirmed by a source")
  if model is not None and model.family != "decoder":
    sentences.append(f"{model.name} is of the family {model.family}, and the published laws are of decoders")
  odd = units.of_ratio(report.tokens_per_parameter)
  if odd is not None:
    kind, size = odd
    sentences.append(
      f"{report.tokens_per_parameter:.3g} tokens a parameter is outside the range of published models; are the "
      f"{kind} behind the law in {units.NAMES[size]}?"
    )
  return sentences


def _intervals(report: Plan) -> list[str]:
  sentences = []
  for name in ("N", "D"):
    pair = report.interval.get(name)
    if pair and not pair[1] < 2 * pair[0]:
      sentences.append(
        f"{name} is only known to lie in [{pair[0]:.3g}, {pair[1]:.3g}], a factor of {pair[1] / pair[0]:.2g}"
      )
      break
  return sentences


def _parts(report: Plan) -> list[str]:
  sentences = []
  shape, params = report.shape, report.question.params or report.N
  if shape.fault:
    sentences.append(f"no shape is proposed: {shape.fault}")
  # .1 in ln N is 10 %.
  elif abs(math.log(shape.params / params)) > 0.1:
    sentences.append(f"no shape of the family comes within 10 % of N: the nearest has {shape.params:.3g}")
  if report.repetition is not None and report.repetition.epochs > _MAX_EPOCHS:
    sentences.append(
      f"{report.repetition.epochs:.0f} epochs: beyond about {_MAX_EPOCHS:.0f} repetition raised the loss, which "
      "the law of repeated data leaves out"
    )
  sentences += [
    f"a model {entry.factor:g} times smaller never reaches the optimum's loss, whatever its data"
    for entry in report.overtrain or ()
    if not entry.possible
  ]
  return sentences
