import numpy as np
import pytest

from gen.errors import UserError
from gen.evaluation.words import vocabulary


def test_a_word_begins_with_a_letter_and_dots_and_underscores_part_words():
  assert vocabulary.split_words("np.float32, x_1 3 Don’t 'quoted' größer") == [
    "np", "float32", "x", "don't", "quoted", "größer",
  ]  # fmt: skip


def test_words_stand_by_falling_count_then_by_the_alphabet():
  known = vocabulary.count_vocabulary(["b a c", "c a b c d"], min_count=2)
  assert known.words == ("c", "a", "b")
  assert known.counts_v.tolist() == [3, 2, 2]
  assert vocabulary.count_vocabulary(["b a c", "c a b c d"], min_count=1, max_words=2).words == (
    "c",
    "a",
  )


def test_unknown_words_are_passed_over_and_documents_are_told_apart():
  known = vocabulary.count_vocabulary(["a b a b"], min_count=1)
  read = vocabulary.encode_words(["a x b", "", "b"], known)
  np.testing.assert_array_equal(read.ids_n, [0, 1, 1])
  np.testing.assert_array_equal(read.documents_n, [0, 0, 2])


def test_a_text_without_frequent_words_is_refused_with_a_hint():
  with pytest.raises(UserError, match="lower the minimum"):
    vocabulary.count_vocabulary(["every word occurs once"], min_count=2)
