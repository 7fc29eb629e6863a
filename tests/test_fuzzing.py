"""The time, the seeds and the counts of fuzz tests."""

import itertools

import pytest

from tests import fuzzing


def test_one_case_is_tried_however_short_the_time(monkeypatch):
  monkeypatch.setenv("GEN_FUZZ_SECONDS", "1e-9")
  fuzz = fuzzing.Fuzz(cases=3)
  assert len(list(fuzz.rounds())) == 1 and fuzz.tries == 1 and fuzz.seconds < 1e-9


@pytest.mark.parametrize("given", ["0", "417"])
def test_a_given_seed_begins_with_the_round_that_had_it(monkeypatch, given):
  monkeypatch.setenv("GEN_FUZZ_SEED", given)
  first = [
    (fuzz.seed, rng.random()) for fuzz in [fuzzing.Fuzz()] for rng in itertools.islice(fuzz.rounds(), 3)
  ]
  monkeypatch.setenv("GEN_FUZZ_SEED", str(first[1][0]))
  again = fuzzing.Fuzz()
  assert [(again.seed, rng.random()) for rng in itertools.islice(again.rounds(), 2)] == first[1:]


def test_every_case_of_a_round_counts_and_the_next_round_has_the_next_seed():
  fuzz = fuzzing.Fuzz()
  cases = list(itertools.islice(fuzz.cases(lambda rng: ["a", "b", "c"]), 7))
  assert cases == list("abcabca") and fuzz.tries == 7
  assert [fuzz.seed, fuzzing.Fuzz().seed] == [2, 0] or fuzzing.LONG
