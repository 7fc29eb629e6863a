"""Checks of an audit for wrong units: losses in bits or perplexities, tokens or parameters in thousands.

The checks use orders of magnitude before the fit, and afterwards runs that are off by a known factor. N parameters,
D tokens, C FLOPs.
"""

import math
from collections.abc import Iterator

import numpy as np

from gen.scaling.audits.findings import Finding, make_finding
from gen.scaling.laws.loss_law.law import HOFFMANN_2022
from gen.scaling.laws.parametric import ParametricFit
from gen.scaling.runs.runs_table import RunsTable

_BITS = 1 / math.log(2)  # bits in a nat
_LARGEST_LOSS = 14.0  # nats: a uniform guess among a million tokens, ln(10^6) = 13.8
_DEAREST = 2.2  # losses over those of the published law, at sizes where it is known
_RATIOS = (0.05, 1e4)  # tokens a parameter that anybody trains with
# FLOPs a parameter and token: 2 is a forward pass alone, and 30 a small model with its head and attention counted.
_FLOPS = (2.0, 30.0)
# Runs, evenly chosen, of which two kinds of losses are told apart; chosen: bounds the time of the search.
_LOOKED_AT = 5000
# Decades of tokens a parameter that no design leaves empty; chosen: a unit of thousands is twice as far.
_GAP = 1.5
# Powers of ten by which tables are written too small, and their names in a finding.
_THOUSANDS = {3: "thousands", 6: "millions", 9: "billions", 12: "trillions"}
_HIGHEST_FLOOR = 2.2  # nats a token; published laws have E of 1.5 to 2
_BITS_BAND = (1.25, 1.65)  # losses over those of the published law, which bits would be 1.44 times
_LOG_BITS = math.log(_BITS)
# Of the squares, that two kinds of losses leave where there are two; chosen: noise of sound losses leaves less.
_LEFT_OVER = 0.1
_MIN_SIZE, _MIN_DATA = 5e7, 5e8  # N and D from which on that law is known


def check_before_fit(points: RunsTable) -> list[Finding]:
  """Returns findings from orders of magnitude, which need no fit."""
  return [_counts(points), _losses(points)]


def check_after_fit(points: RunsTable, law: ParametricFit) -> list[Finding]:
  """Returns findings on units from the fitted law."""
  return list(_bits(points, law))


def _counts(points: RunsTable) -> Finding:
  """Judges N, D and C against one another: a unit of thousands or millions is far outside what is trained."""
  ratio, k = points.tokens / points.params, points.flops / (points.params * points.tokens)
  middle = float(np.exp(np.median(np.log(ratio))))
  sentence = (
    f"{middle:.3g} tokens a parameter, {math.exp(np.median(np.log(k))):.3g} FLOPs a parameter and token"
  )
  mixed = _apart(np.log10(ratio))
  # With a margin: 1.5 for conventions of N, 100 for small models, whose attention and head dominate.
  if not _FLOPS[0] / 1.5 < np.exp(np.median(np.log(k))) < _FLOPS[1] * 100:
    return make_finding(
      "units_of_counts", True, middle, list(_RATIOS), f"{sentence}: N, D and C are not in consistent units"
    )
  if not _RATIOS[0] < middle < _RATIOS[1]:
    what = "tokens" if middle < 1 else "params"
    # 20 tokens a parameter, the usual ratio (Hoffmann et al. 2022), tells the unit that is meant.
    factor = 20 / middle if middle < 1 else middle / 20
    return make_finding(
      "units_of_counts", True, middle, list(_RATIOS), f"{sentence}: are {what} in {_thousands(factor)}?"
    )
  off = ~((k > _FLOPS[0] / 10) & (k < _FLOPS[1] * 100))
  bad = mixed | off
  if bad.any() and bad.mean() < 0.5:
    where = ", ".join(str(name) for name in points.names[bad][:5])
    size = float(np.exp(np.median(np.abs(np.log(ratio[bad] / middle)))))
    return make_finding(
      "units_of_counts", True, int(bad.sum()), 0,
      f"{bad.sum()} runs are a factor {size:.2g} off the others' tokens a parameter ({where}): N or D in other units?",
    )  # fmt: skip
  return make_finding("units_of_counts", False, middle, list(_RATIOS), sentence)


def _apart(logs: np.ndarray) -> np.ndarray:
  """Returns the mask of values beyond a gap of 1.5 decades, on the side with fewer values."""
  ordered = np.sort(logs)
  gaps = np.diff(ordered)
  if not len(gaps) or gaps.max() < _GAP:
    return np.zeros(len(logs), bool)
  above = logs > ordered[int(np.argmax(gaps))]
  return above if above.mean() <= 0.5 else ~above


def _thousands(factor: float) -> str:
  power = min(_THOUSANDS, key=lambda p: abs(p - math.log10(factor)))
  return _THOUSANDS[power]


def _losses(points: RunsTable) -> Finding:
  largest, times = float(points.loss.max()), _over_published(points)
  sentence = f"losses from {points.loss.min():.3g} to {largest:.3g}"
  bad = largest > _LARGEST_LOSS or times > _DEAREST
  if bad:
    sentence += ": above what text costs in nats a token; are they perplexities, or sums over tokens?"
  return make_finding("units_of_loss", bad, largest, _LARGEST_LOSS, sentence)


def _over_published(points: RunsTable) -> float:
  """Returns the median ratio of losses to a published law's; NaN outside the sizes where that law is valid."""
  known = (points.params > _MIN_SIZE) & (points.tokens > _MIN_DATA)
  if known.sum() < 5:
    return math.nan
  # The published law is of English web text; a factor of 2.2 leaves room for code, other languages and vocabularies.
  return float(np.median(points.loss[known] / HOFFMANN_2022.loss(points.params[known], points.tokens[known])))


def _bits(points: RunsTable, law: ParametricFit) -> Iterator[Finding]:
  """Checks for runs that are off by a factor 1 / ln 2, and for a study whose losses are too high for nats."""
  count, names = _mixed(points.select(np.arange(0, len(points), -(-len(points) // _LOOKED_AT))))
  if count:
    where = ", ".join(names[:5])
    yield make_finding(
      "bits_or_nats", True, count, 0,
      f"{count} runs lie a factor 1.44, bits over nats, off the others ({where}): are all losses in one unit?",
    )  # fmt: skip
    return
  times, floor = _over_published(points), law.law.E
  bad = floor > _HIGHEST_FLOOR and _BITS_BAND[0] < times < _BITS_BAND[1]
  sentence = f"no run lies 1.44 times off the others, and E is {floor:.3g}"
  if bad:
    sentence = (
      f"losses are {times:.2f} times those of text in nats a token, and E is {floor:.2f}: are they bits?"
    )
  yield make_finding("bits_or_nats", bad, floor, _HIGHEST_FLOOR, sentence)


def _mixed(points: RunsTable) -> tuple[int, list[str]]:
  """Returns the number and mask of runs in the smaller of two groups whose losses differ by a factor 1 / ln 2.

  ln loss is a paraboloid in (ln N, ln D), plus ln(1 / ln 2) for one group. Least squares alternate with assigning each
  run to the nearer group, from several starts. There are two groups if these leave only a small part of the scatter.
  """
  x, y = (np.log(values) for values in (points.params, points.tokens))
  x, y, l = (x - x.mean()) / (np.std(x) + 1e-9), (y - y.mean()) / (np.std(y) + 1e-9), np.log(points.loss)
  plane_n3 = np.stack([np.ones_like(x), x, y], 1)
  design_nq = np.concatenate([plane_n3, np.stack([x * x, x * y, y * y], 1)], 1)
  if len(x) < design_nq.shape[1] + 4:
    return 0, []
  alone = _left(design_nq, l)
  beginnings = [alone > 0, _left(plane_n3, l) > 0, l > np.median(l), alone > np.max(alone) / 2]
  beginnings += [~(alone < np.min(alone) / 2)]
  best, kind = float(alone @ alone), np.zeros(len(x), bool)
  for high in beginnings:
    # Alternating least squares end after a few rounds, when no run changes its group.
    for _ in range(20):
      left = _left(design_nq, l - _LOG_BITS * high) + _LOG_BITS * high  # about the surface of the lower kind
      if np.array_equal(high, left > _LOG_BITS / 2):
        break
      high = left > _LOG_BITS / 2
    rest = _left(design_nq, l - _LOG_BITS * high)
    if float(rest @ rest) < best:
      best, kind = float(rest @ rest), high
  fewer = kind if kind.mean() <= 0.5 else ~kind
  if not fewer.any() or best > _LEFT_OVER * float(alone @ alone):
    return 0, []
  return int(fewer.sum()), [str(name) for name in points.names[fewer]]


def _left(design_nq: np.ndarray, values: np.ndarray) -> np.ndarray:
  return np.asarray(values - design_nq @ np.linalg.lstsq(design_nq, values, rcond=None)[0])
