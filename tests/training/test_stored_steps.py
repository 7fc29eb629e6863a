"""What a folder of checkpoints says of itself without jax."""

import pytest

from gen.training import stored_steps

MISSING, EXTRA, UNLIKE = 13, 12, 14


def tree(**leaves):
  return {name: {"shape": shape, "dtype": "float32"} for name, shape in leaves.items()}


def named(stem, count, shape):
  return {f"{stem}{n}": shape for n in range(count)}


def test_each_kind_of_difference_is_shortened_and_counted_on_its_own():
  saved = tree(**named("old", EXTRA, [2]), **named("kept", UNLIKE, [2]), same=[5])
  wanted = tree(**named("new", MISSING, [4]), **named("kept", UNLIKE, [3]), same=[5])
  lines = stored_steps.differences(saved, wanted)
  most = stored_steps.MOST_LINES
  assert lines == [
    *(f"missing from the checkpoint: new{n} float32[4]" for n in range(most)),
    f"and {MISSING - most} more missing",
    *(f"extra in the checkpoint: old{n} float32[2]" for n in range(most)),
    f"and {EXTRA - most} more extra",
    *(f"unlike: kept{n} is float32[2] in the checkpoint, float32[3] here" for n in range(most)),
    f"and {UNLIKE - most} more unlike",
  ]


@pytest.mark.parametrize("count", [0, 1, stored_steps.MOST_LINES])
def test_few_differences_are_all_told_without_a_count(count):
  lines = stored_steps.differences({}, tree(**named("new", count, [2, 3])))
  assert lines == [f"missing from the checkpoint: new{n} float32[2,3]" for n in range(count)]
