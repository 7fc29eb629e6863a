"""A plan names a published model or preset only where it is about as large."""

import math

import pytest

from gen.scaling.planning import model_shapes, plan, plan_summary


@pytest.mark.parametrize(("params", "near"), [(174e9, True), (8e9, True), (3e12, False)])
def test_the_named_model_is_within_a_factor_of_one_and_a_half(params, near):
  shape = model_shapes.nearest_shape(params, counting="all").proposal()
  assert shape.near == near
  assert (abs(math.log(shape.named_params / params)) < math.log(1.5)) == near


def test_a_plan_of_a_size_names_a_model_of_that_size():
  lines = plan_summary.plan_lines(plan.make_plan("besiroglu2024", params=175e9))
  named = next(line for line in lines if "is nearest among" in line)
  assert "175b" in named and "chinchilla" not in named
