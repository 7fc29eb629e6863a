"""A context window refuses, truncates or slides, and counts exactly."""

import numpy as np
import pytest

from gen.errors import UserError
from gen.generation.decoding import context_window

PROMPTS = [np.arange(9), np.arange(3)]


def test_what_fits_is_left_alone():
  assert [len(ids) for ids in context_window.fit_prompts(PROMPTS, 3, 12, "error")] == [9, 3]
  assert [len(ids) for ids in context_window.fit_prompts(PROMPTS, 3, 0, "error")] == [9, 3]


def test_what_does_not_fit_is_refused_with_the_numbers():
  with pytest.raises(UserError, match=r"prompt 0 has 9 tokens, and with 4 new ones needs 13 of .* 12"):
    context_window.fit_prompts(PROMPTS, 4, 12, "error")


def test_truncation_keeps_the_right_end():
  assert context_window.fit_prompts(PROMPTS, 4, 10, "truncate")[0].tolist() == [3, 4, 5, 6, 7, 8]
  assert context_window.fit_prompts(PROMPTS, 4, 10, "truncate")[1].tolist() == [0, 1, 2]


def test_sources_have_a_window_of_their_own():
  with pytest.raises(UserError, match="source 0 has 9 tokens"):
    context_window.fit_sources(PROMPTS, 8, "error")
  assert context_window.fit_sources(PROMPTS, 8, "slide")[0].tolist() == list(range(1, 9))


def test_a_window_slides_only_when_it_is_full():
  assert len(context_window.slide_window(np.arange(9), 10)) == 9
  assert context_window.slide_window(np.arange(10), 10).tolist() == [5, 6, 7, 8, 9]


def test_counts_add_up():
  count = context_window.WindowUse(prompt=9, new=4, window=12)
  assert (count.used, count.left) == (13, -1)
  assert context_window.WindowUse(9, 4, 0).left is None
