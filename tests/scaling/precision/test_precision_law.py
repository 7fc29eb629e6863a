"""The law of precision: planted constants come back, scipy finds the same, and what cannot be fitted is refused."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import optimize

from gen.errors import UserError
from gen.scaling.precision import precision_law
from gen.scaling.precision.precision_law import PrecisionLaw, RoundedLoss

PLANTED = PrecisionLaw(0.4, 0.5, 0.35, 0.8)
BITS = (3, 4, 5, 6, 8)


def measured(noise=0.0, sizes=(1e4, 3e4, 1e5, 4e5), ratios=(10, 30, 90), bits=BITS, law=PLANTED, floor=1e-6):
  """Returns rows of a study; added losses below the floor are not clearly above zero."""
  random = np.random.default_rng(5)
  rows = []
  for N in sizes:
    for ratio in ratios:
      of_run = noise * random.normal()
      for P in bits:
        added = law.added_loss(N, ratio * N, P) * math.exp(of_run + 0.3 * noise * random.normal())
        low = added - max(floor, 0.1 * added)
        rows.append(RoundedLoss(f"{N:g}-{ratio}", N, ratio * N, P, 3.0, added, low, 1.1 * added))
  return rows


def test_planted_constants_come_back_exactly():
  fit = precision_law.fit_precision(measured(), resamples=20)
  np.testing.assert_allclose(fit.law, PLANTED, rtol=1e-9)
  assert fit.r_squared == pytest.approx(1) and fit.held_out.factor == pytest.approx(1)
  assert fit.runs == 12 and fit.held_out.N == 4e5 and fit.held_out.inside == fit.held_out.rows


def test_with_noise_intervals_hold_the_truth_and_scipy_finds_the_same_minimum():
  rows = measured(noise=0.2)
  fit = precision_law.fit_precision(rows, resamples=400)
  for name, value in PLANTED._asdict().items():
    low, high = fit.intervals[name]
    assert low < value < high and low < getattr(fit.law, name) < high

  def residuals(constants):
    log_coefficient, data, size, scale = constants
    law = PrecisionLaw(math.exp(log_coefficient), data, size, scale)
    used = [row for row in rows if row.low > 0]
    return [math.log(law.added_loss(row.N, row.D, row.bits) / row.added) for row in used]

  found = optimize.least_squares(residuals, [0.0, 0.3, 0.3, 1.0], x_scale=[1, 0.1, 0.1, 0.1]).x
  np.testing.assert_allclose([math.exp(found[0]), *found[1:]], fit.law, rtol=1e-4)
  assert 1 < fit.held_out.factor < 1.6


def test_rows_that_are_not_clearly_above_zero_are_counted_and_left_out():
  rows = measured(floor=1e-3)
  fit = precision_law.fit_precision(rows, resamples=5)
  assert 0 < fit.left_out < len(rows) and fit.rows + fit.left_out == len(rows)
  np.testing.assert_allclose(fit.law, PLANTED, rtol=1e-9)


def test_equal_exponents_are_found_where_the_ratio_alone_counts():
  rows = measured(law=PrecisionLaw(0.4, 0.5, 0.5, 0.8))
  assert precision_law.fit_precision(rows, resamples=5).ratio_exponent == pytest.approx(0.5)


@pytest.mark.parametrize(
  ("choice", "sentence"),
  [
    ({"sizes": (1e4,)}, "2 or more sizes"),
    ({"ratios": (10,)}, "2 or more ratios of tokens"),
    ({"bits": (4,)}, "2 or more numbers of bits"),
    ({"sizes": (1e4, 3e4), "ratios": (10, 90), "bits": (3, 4)}, ""),
  ],
)
def test_rows_that_do_not_determine_the_law_are_refused(choice, sentence):
  if not sentence:
    assert precision_law.fit_precision(measured(**choice), resamples=5).held_out is None
    return
  with pytest.raises(UserError, match=sentence):
    precision_law.fit_precision(measured(**choice), resamples=5)


def test_a_fit_as_json_has_its_rows():
  rows = measured(noise=0.1)
  record = precision_law.fit_record(precision_law.fit_precision(rows, resamples=5), rows)
  assert set(record["law"]) == set(PrecisionLaw._fields)
  assert RoundedLoss(**record["measurements"][3]) == rows[3] and dataclasses.is_dataclass(rows[3])
