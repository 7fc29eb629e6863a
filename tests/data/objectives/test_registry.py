import subprocess
import sys

import pytest

from gen.data.objectives import OBJECTIVES, Specials, families_of, make_objective, raw_row_length, row_shapes
from gen.errors import UserError
from tests.data.objectives import rows


def test_an_unknown_name_is_told_the_nearest():
  with pytest.raises(UserError, match="'masked_statc'; the nearest is 'masked_static'"):
    make_objective("masked_statc", rows.SPECIALS, 8)
  with pytest.raises(UserError, match="the nearest is 'causal'"):
    raw_row_length("casual", 8)


def test_unknown_parameters_missing_tables_and_impossible_lengths_are_refused():
  with pytest.raises(UserError, match="'causal' has no parameter 'rate'; it has none"):
    make_objective("causal", rows.SPECIALS, 8, rate=0.1)
  with pytest.raises(UserError, match="no parameter 'copies'"):
    make_objective("masked_static", rows.SPECIALS, 8, copies=3)
  with pytest.raises(UserError, match="needs the table word_start_v"):
    make_objective("masked_whole_word", rows.SPECIALS, 8)
  with pytest.raises(UserError, match="at least 1, not 0"):
    make_objective("causal", rows.SPECIALS, 0)


def test_a_tokenizer_without_the_ids_that_an_objective_inserts_is_refused():
  bare = Specials(vocab=60, text_begin=2, text_end=60, eos=1)
  for name, missing in (("masked", "mask"), ("span_corruption", "sentinels"), ("infilling", "mask")):
    with pytest.raises(UserError, match=f"tokenizer with {missing}"):
      make_objective(name, bare, 16)


def test_sizes_are_known_without_a_tokenizer():
  assert (raw_row_length("causal", 16), row_shapes("causal", 16)) == (17, (0, 16))
  assert (raw_row_length("masked_whole_word", 16), row_shapes("masked", 16)) == (16, (0, 16))
  assert (raw_row_length("infilling", 16), row_shapes("sentence_permutation", 16)) == (16, (16, 16))
  assert row_shapes("prefix", 16, family="encoder_decoder") == (16, 16)
  assert row_shapes("span_corruption", 256, rate=0.5, mean_span=3.0)[0] == 256


def test_every_objective_says_who_can_learn_it():
  assert families_of("span_corruption") == ("encoder_decoder",) and "lstm" in families_of("causal")
  assert all(families_of(name) for name in OBJECTIVES)


def test_specials_are_read_off_a_tokenizer():
  class Tokenizer:
    pad, eos, unk, bos, cls, sep, mask, vocab, text_vocab = 0, 1, 2, 3, 50, 51, 52, 153, 50
    text_range = 4, 50

    def sentinel(self, index):
      return 53 + index

  specials = Specials.of(Tokenizer())
  assert (specials.text_begin, specials.text_end, specials.sentinels[99]) == (4, 50, 152)
  corruptible = [token for token in range(153) if specials.corruptible_v[token]]
  assert corruptible == [2, *range(4, 50)]


def test_importing_objectives_imports_no_jax():
  code = "import sys, gen.data.objectives; sys.exit('jax' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
