"""Whatever is said to a model, it answers, or one sentence says why not.

With GEN_FUZZ_SECONDS all families and settings are tried; else a few examples are, the same ones each time.
"""

import functools

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gen.config import Data, Model, Run
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.generation import loaded_model
from gen.generation.conversation import OF_LIMITS, OF_SAMPLER, Conversation
from gen.generation.decoding import decode
from gen.generation.decoding.sampling import GREEDY, Sampler
from gen.models import language_model
from tests.fuzzing import LONG

BYTES = ByteTokenizer()
OBJECTIVES = {
  "decoder": "causal",
  "lstm": "causal",
  "encoder_decoder": "span_corruption",
  "encoder": "masked",
}
EXAMPLES = 12  # of a round, after which the clock is read
SETTINGS = settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
MARKS = (
  "<mask>",
  "</s>",
  "<s>",
  "<extra_id_0>",
  "<|endoftext|>",
  "___",
  "{}",
  "{word}",
  "/",
  "//",
  "\0",
  "\n",
  "\ud800",
)
LETTERS = st.characters(exclude_categories=())  # half surrogate pairs too
PROMPTS = st.lists(st.text(LETTERS, max_size=3) | st.sampled_from(MARKS), max_size=9 if LONG else 1).map(
  "".join
)
WRONG_NUMBERS = ("nan", "-inf", "-1", "1e999", "-0.5", "x", "", "9" * 30, "9" * 5000)
NUMBERS = st.sampled_from((*WRONG_NUMBERS, "1e-320", "1e300", "٣", "0", "-0.0", "5"))
WORDS = st.sampled_from(
  (*OF_SAMPLER, *OF_LIMITS, "seed", "stop", "history", "clear", "settings", "help", "nothing", "")
)
WRONG = st.builds("/{} {}".format, st.sampled_from((*OF_SAMPLER, *OF_LIMITS)), st.sampled_from(WRONG_NUMBERS))
ANY = st.builds(
  "/{} {}".format,
  WORDS,
  NUMBERS | st.floats().map(str) | st.integers().map(str) | st.text(LETTERS, max_size=5),
)


@functools.cache
def restored(family):
  shape = {"head_width": 4, "context": 64} if family in ("decoder", "encoder", "encoder_decoder") else {}
  model = Model(family=family, vocab=BYTES.vocab, width=8, depth=1, **shape)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), language_model.parameter_shapes(model)
  )
  run = Run(model=model, data=Data(objective=OBJECTIVES[family], length=64))
  return loaded_model.LoadedModel(model, params, BYTES, loaded_model.load_run(run, BYTES), "a test")


@pytest.mark.parametrize("family", list(OBJECTIVES) if LONG else ["decoder"])
def test_whatever_is_said_is_answered_or_refused_in_one_sentence(fuzz, family):
  @SETTINGS
  @given(st.lists(PROMPTS | (ANY if LONG else WRONG), min_size=1, max_size=4))
  def talk(lines):
    hear(family, lines)

  for _ in fuzz.rounds(EXAMPLES):
    seed(fuzz.seed)(talk)()


def hear(family, lines):
  conversation = Conversation(restored(family), GREEDY, decode.DecodeLimits(max_tokens=3), 0)
  conversation.handle_line("/history off", lambda piece: None)
  for line in lines:
    said = []
    conversation.handle_line(line, said.append)
    whole = "".join(said)
    assert whole.endswith("\n") or not line.strip()
    if whole.startswith("error: "):
      assert whole.count("\n") == 1 and len(whole) < 400


def test_settings_are_refused_or_leave_something_to_draw(fuzz):
  share = st.floats() | st.floats(0, 1)

  @SETTINGS
  @given(st.floats(), st.integers(-1, 9), share, share, st.floats())
  def draw(temperature, top_k, top_p, min_p, penalty):
    try:
      sampler = Sampler(temperature, top_k, top_p, min_p, penalty)
      sampler.check(7)
    except UserError:
      return
    logits_bv = np.array([[0.5, -2.0, 3.0, 3.0, 0.0, -1.0, 1.0]], np.float32)
    kept_bv = np.asarray(sampler(logits_bv, np.array([[True, False, True, False, False, True, False]])))
    assert not np.isnan(kept_bv).any() and (kept_bv < np.inf).all() and np.isfinite(kept_bv).any()

  for _ in fuzz.rounds(EXAMPLES):
    seed(fuzz.seed)(draw)()
