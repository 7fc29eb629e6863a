"""The cost of decoding is measured for what was asked, and set beside a peer that must give the same tokens."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gen.config import Model
from gen.errors import UserError
from gen.generation.decoding import benchmark, decode, decoders
from gen.generation.decoding.sampling import GREEDY
from gen.interop import huggingface
from gen.models import language_model
from gen.quantization import model_quantization, model_scheme
from tests import programs

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_generate.py"
SHAPE = Model(
  vocab=40,
  width=12,
  depth=1,
  head_width=4,
  context=64,
  positions="learned",
  tied=True,
  bias=True,
  norm_bias=True,
)

PEER = """#!{python}
import json, sys
asked = json.load(sys.stdin)
assert sys.argv[1].endswith("transformers_generate.py") and len(asked["prompts"]) == 2
row = {{"batch": 2, "prefill_tokens_per_second": 9, "decode_tokens_per_second": 8, "tokens_per_second": 7}}
print(json.dumps(row | {{"tokens": {tokens}}}))
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  folder = tmp_path_factory.mktemp("gpt2")
  params = jax.tree.map(np.asarray, language_model.initialize_parameters(SHAPE, jax.random.key(3)))
  huggingface.save_checkpoint(folder / "model", SHAPE, params)
  return folder, params


def test_a_peer_is_given_the_same_weights_and_prompts_and_its_tokens_are_compared(small):
  folder, params = small
  given = benchmark.random_prompts(40, 2, 9)
  plain = decode.generate(
    language_model.build_model(SHAPE), params, given, GREEDY, jax.random.key(9), max_tokens=5
  )
  tokens = plain.rows()[0].tolist()
  peer = folder / "peer"
  peer.write_text(PEER.format(python=sys.executable, tokens=tokens))
  peer.chmod(0o755)
  flags = [f"--checkpoint={folder / 'model'}", "--batch=2", "--prompt=9", "--new=5", "--repeats=1"]
  done = programs.run([SCRIPT, *flags, f"--peer={peer}", "--json=-"])
  assert done.returncode == 0, done.stderr
  (row,) = json.loads(done.stdout)["rows"]
  found = row["gen"]
  assert row["same_tokens"] and found["tokens"] == tokens
  assert row["ratio"] == pytest.approx(found["tokens_per_second"] / 7)
  assert found["prefill_tokens_per_second"] == pytest.approx(2 * 9 / found["prefill_seconds"])
  assert found["decode_tokens_per_second"] == pytest.approx(2 * 4 / found["decode_seconds"])
  assert found["compile_seconds"] > found["prefill_seconds"]
  assert found["cache_bytes"] == decoders.cache_bytes(SHAPE, 2, 16 + 16)


def test_one_token_cannot_be_told_from_the_prefill(small):
  with pytest.raises(UserError, match="ask for at least 2"):
    benchmark.measure_decoding(language_model.build_model(SHAPE), small[1], batch=2, prompt=9, new=1)


def test_a_mistake_is_one_sentence():
  done = programs.run([SCRIPT, "--batch=0"])
  assert done.returncode == 2 and "--batch=0: write whole numbers of at least 1" in done.stderr
  assert done.stderr.count("\n") == 1


def test_fewer_bits_are_measured_in_turn_with_their_memory():
  model = Model(vocab=40, width=16, depth=1, head_width=4, context=64, positions="learned", tied=True)
  params = jax.tree.map(np.asarray, language_model.initialize_parameters(model, jax.random.key(3)))
  module = language_model.build_model(model)
  made = model_quantization.quantize_model(
    params, model, model_scheme.parse_scheme("int8", "int8", "")
  ).params
  cached = language_model.build_model(dataclasses.replace(model, cache_format="int8"))
  wide, narrow = benchmark.measure_in_turn(
    [(module, params), (cached, made)], batch=2, prompt=4, new=3, repeats=1
  )
  assert wide.tokens_per_second > 0 and narrow.tokens_per_second > 0 and len(narrow.tokens) == 3
  assert 2 * narrow.cache_bytes < 1.5 * wide.cache_bytes
