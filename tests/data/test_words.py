import numpy as np
import pytest

from gen.data import words
from gen.errors import UserError


def test_a_word_begins_with_a_letter_and_dots_and_underscores_part_words():
  assert words.split("np.float32, x_1 3 Don’t 'quoted' größer") == [
    "np", "float32", "x", "don't", "quoted", "größer",
  ]  # fmt: skip


def test_words_stand_by_falling_count_then_by_the_alphabet():
  known = words.vocabulary(["b a c", "c a b c d"], least=2)
  assert known.words == ("c", "a", "b")
  assert known.counts_v.tolist() == [3, 2, 2]
  assert words.vocabulary(["b a c", "c a b c d"], least=1, most=2).words == ("c", "a")


def test_unknown_words_are_passed_over_and_documents_are_told_apart():
  known = words.vocabulary(["a b a b"], least=1)
  read = words.encode(["a x b", "", "b"], known)
  np.testing.assert_array_equal(read.ids_n, [0, 1, 1])
  np.testing.assert_array_equal(read.documents_n, [0, 0, 2])


def test_a_text_without_frequent_words_is_refused_with_a_hint():
  with pytest.raises(UserError, match="lower the least count"):
    words.vocabulary(["every word occurs once"], least=2)
