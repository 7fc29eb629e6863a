"""Intervals of a comparison are those of a paired bootstrap, and a single batch has none."""

import math

import numpy as np
import pytest

from gen.quantization import comparison, quantization_report
from gen.quantization.comparison import BatchLosses, PairedDifference
from gen.quantization.model_quantization import QuantizedModel
from gen.quantization.model_scheme import ModelScheme


def test_the_interval_is_that_of_differences_of_batches_drawn_alike():
  rng = np.random.default_rng(0)
  before_u, added_u = rng.uniform(20, 90, 200), rng.normal(0.5, 0.2, 200)
  weight_u = np.full(200, 10.0)
  found = comparison.pair_losses(BatchLosses(before_u, weight_u), BatchLosses(before_u + added_u, weight_u))
  error = added_u.std() / math.sqrt(200) / 10
  assert found.difference == pytest.approx(added_u.mean() / 10)
  assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_a_single_batch_has_no_interval_and_the_report_says_so():
  found = comparison.pair_losses(
    BatchLosses(np.array([20.0]), np.array([10.0])), BatchLosses(np.array([21.0]), np.array([10.0]))
  )
  assert found.difference == pytest.approx(0.1) and math.isnan(found.low) and math.isnan(found.high)
  compared = {"loss": found, "bits_per_byte": PairedDifference(3.0, 3.1, 0.1, 0.05, 0.15)}
  lines = quantization_report.summary_lines(
    quantization_report.build_report(ModelScheme(), QuantizedModel({}, [], 4, 1), compared)
  )
  assert lines[1].endswith("difference +0.1000 nats per token on one batch, so without an interval")
  assert lines[2].endswith("difference +0.1000 [+0.0500, +0.1500] bits per byte")
