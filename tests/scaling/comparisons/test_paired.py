"""Paired differences, against scipy."""

import numpy as np
import pytest
from scipy import stats

from gen.scaling.comparisons import paired
from gen.scaling.comparisons.held_out_text import HeldOutText, draw_held_out, repeated_share


def test_an_interval_is_students_t_of_the_differences():
  random = np.random.default_rng(5)
  first, second = ({seed: float(value) for seed, value in enumerate(random.normal(size=7))} for _ in range(2))
  gap = paired.paired_gap(first, second, 0.9)
  expected = stats.ttest_rel(list(first.values()), list(second.values())).confidence_interval(0.9)
  assert (gap.low, gap.high, gap.seeds) == (pytest.approx(expected.low), pytest.approx(expected.high), 7)


def test_seeds_that_one_side_lacks_are_left_out():
  gap = paired.paired_gap({1: 2.0, 2: 5.0, 3: 7.0}, {2: 4.0, 3: 5.0, 4: 9.0}, 0.5)
  assert (gap.mean, gap.seeds) == (1.5, 2)
  assert paired.paired_gap({1: 2.0}, {2: 4.0}, 0.9) is None


def test_one_seed_has_no_interval_and_decides_nothing():
  gap = paired.paired_gap({0: 1.0}, {0: 3.0}, 0.9)
  assert (gap.mean, gap.low, gap.high) == (-2.0, None, None)
  assert not gap.below_zero and not gap.above_zero and paired.format_gap(gap) == "-2.000"


def test_several_comparisons_widen_each_interval():
  values = {0: 1.0, 1: 1.5, 2: 1.2}, {0: 0.0, 1: 0.1, 2: 0.4}
  alone, together = (paired.paired_gap(*values, 0.9, number) for number in (1, 3))
  assert together.low < alone.low and together.high > alone.high
  assert paired.paired_gap(*values, 1 - 0.1 / 3).low == pytest.approx(together.low)


def test_held_out_text_is_cut_at_a_size_and_at_a_whole_character():
  text = draw_held_out("law", ["é" * 700, "", "  ", "ü" * 800], 1001)
  assert (
    text.bytes == sum(len(document.encode()) for document in text.documents) and 998 <= text.bytes <= 1001
  )
  assert text == draw_held_out("law", ["é" * 700, "", "  ", "ü" * 800], 1001)


def test_a_repeated_line_counts_by_its_characters_whatever_its_white_space():
  shared, own = "one two three four five six seven eight", "a b c d e f g h"
  text = HeldOutText("law", (f"{shared}\n{own}\nshort line",), 0, "")
  assert repeated_share(text, [f"before\n  {shared.replace(' ', '   ')}\n"]) == len(shared) / len(
    shared + own
  )
  assert repeated_share(text, ["short line"]) == 0
