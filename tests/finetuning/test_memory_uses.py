"""Accounts of decoding have the type of keys and values that the precision computes in."""

import pytest

from gen.finetuning import memory_uses


@pytest.mark.parametrize(
  ("precision", "bytes_each"), [("float32", 4), ("mixed", 2), ("float16", 2), ("bfloat16", 2)]
)
def test_float_keys_and_values_take_the_bytes_of_the_precision(precision, bytes_each):
  report = memory_uses.report_decoding("gpt2", None, "float", 3, 16, precision)
  # Keys and values of 12 layers, then int32 positions and the count of slots.
  assert report.parts["cache"] == 3 * 16 * (2 * 12 * 768 * bytes_each + 4) + 4
