"""Parts of a model that a config names: gen's own layers through the door of user code must change no number."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen import counts
from gen.config import Data, Model, Optimizer, Run, identity_fields, validation
from gen.data import objectives
from gen.errors import UserError
from gen.generation.decoding import decoders
from gen.interop import description
from gen.io import user_code
from gen.models import language_model

MODEL = Model(vocab=23, width=12, depth=2, head_width=6, feed_forward=20, context=16)
ATTENTION, FEED_FORWARD = "gen.models.transformer:Attention", "gen.models.transformer:FeedForward"

SOURCE = """
import jax.numpy as jnp
from flax import linen as nn
from gen.models import layers
from gen.models.transformer import TransformerBlock

class Block(nn.Module):
  config: object
  causal: bool = False

  @nn.compact
  def __call__(self, x_btd, inputs):
    import dataclasses
    return TransformerBlock(dataclasses.replace(self.config, block=""), causal=self.causal)(x_btd, inputs)[0]

class Cached(Block):
  cached = True

class Narrow(nn.Module):
  config: object

  @nn.compact
  def __call__(self, x_btd):
    return x_btd[..., 1:]

def rotary(positions_bt, config):
  rates_k = 10_000.0 ** (-jnp.arange(config.head_width // 2) * 2 / config.head_width)
  return positions_bt[..., None] * rates_k

def alibi(queries_bt, keys_bs, config):
  return layers.alibi_bias(queries_bt, keys_bs, config.n_heads)

def single(positions_bt):
  return positions_bt
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
  """The reference of a name in a file of one's own."""
  path = tmp_path_factory.mktemp("own") / "own.py"
  path.write_text(SOURCE)
  return lambda name: f"{path}:{name}"


def logits(model, params):
  ids_bt = np.arange(14).reshape(2, 7) % model.vocab
  segments_bt = np.array([[1, 1, 1, 2, 2, 2, 2], [1] * 5 + [2, 2]])
  positions_bt = np.array([[0, 1, 2, 0, 1, 2, 3], [0, 1, 2, 3, 4, 0, 1]])
  module = language_model.build_model(model)
  return module.apply({"params": params}, ids_bt, segments_bt=segments_bt, positions_bt=positions_bt)


def without_own(tree, names):
  """The parameters without the level that holds a module of one's own."""
  if not isinstance(tree, dict):
    return tree
  tree = {name: without_own(branch, names) for name, branch in tree.items()}
  for name in names:
    tree = tree[name] if set(tree) == {name} else tree
  return tree


@pytest.mark.parametrize(
  ("fields", "levels"),
  [
    ({"attention_module": ATTENTION}, ["own"]),
    ({"feed_forward_module": FEED_FORWARD}, ["own"]),
    ({"block": "Block"}, ["TransformerBlock_0", "own", "block"]),
    ({"activation": "jax.nn:gelu"}, []),
    ({"positions": "rotary"}, []),
  ],
)
def test_a_layer_of_gen_named_as_ones_own_gives_the_same_logits_and_counts(own, fields, levels):
  fields = {name: text if ":" in text else own(text) for name, text in fields.items()}
  model = dataclasses.replace(MODEL, **fields)
  params = language_model.initialize_parameters(model, jax.random.key(3))
  np.testing.assert_allclose(
    logits(model, params), logits(MODEL, without_own(params, levels)), rtol=1e-5, atol=1e-6
  )
  assert counts.count_matrices(model) == counts.count_matrices(MODEL)
  assert counts.count_parameters(model).total == counts.count_parameters(MODEL).total
  if "block" not in fields:
    assert counts.count_parameters(model) == counts.count_parameters(MODEL)


@pytest.mark.parametrize("fields", [{"scan": True}, {"remat": "full"}, {"scan": True, "remat": "full"}])
def test_a_block_of_ones_own_is_scanned_and_computed_again_like_any(own, fields):
  model = dataclasses.replace(MODEL, block=own("Cached"), scan=False)
  params = language_model.initialize_parameters(model, jax.random.key(6))

  def total(params, model):
    return jnp.square(logits(model, params)).mean()

  expected, found = (jax.grad(total)(params, each) for each in (model, dataclasses.replace(model, **fields)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)


def test_a_bias_of_ones_own_is_that_of_alibi(own):
  plain, model = (dataclasses.replace(MODEL, positions=name) for name in ("alibi", own("alibi")))
  params = language_model.initialize_parameters(plain, jax.random.key(4))
  np.testing.assert_allclose(logits(model, params), logits(plain, params), rtol=1e-5, atol=1e-6)


def generated(model, params):
  """Logits after prompts of 2 and 4 tokens and after each of two more tokens."""
  decoder = decoders.make_decoder(model)
  prompts, pads_b = decoders.pad_prompts([np.array([3, 5]), np.array([1, 2, 7, 9])], 4, left=True)
  found, cache = decoder.prefill(params, decoders.PromptBatch(prompts, pads_b), 8)
  every = [found]
  for token in (4, 6):
    found, cache = decoder.step(params, cache, jnp.array([token, token + 1]))
    every.append(found)
  return type(decoder).__name__, np.array(every)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "kind"), [("Block", "RecomputingDecoder"), ("Cached", "TransformerDecoder")]
)
def test_a_block_generates_alike_with_a_cache_and_without(own, name, kind):
  model = dataclasses.replace(MODEL, block=own(name))
  params = language_model.initialize_parameters(model, jax.random.key(5))
  plain = without_own(params, ["TransformerBlock_0", "own", "block"])
  used, found = generated(model, params)
  assert used == kind
  np.testing.assert_allclose(found, generated(MODEL, plain)[1], rtol=1e-4, atol=1e-5)


def test_flops_without_a_count_are_nan_with_a_sentence_and_a_budget_of_them_is_refused(own):
  model = dataclasses.replace(MODEL, block=own("Block"))
  assert math.isnan(counts.count_flops(model, 7).total)
  (sentence,) = counts.uncounted_modules(model)
  assert sentence.startswith("FLOPs are not counted: model.block ") and "count_flops" in sentence
  with pytest.raises(UserError, match=r"the run, but FLOPs are not counted: model\.block"):
    counts.require_counted(model, "the run")
  counts.require_counted(MODEL, "the run")


def test_a_module_counts_its_own_flops(tmp_path):
  (tmp_path / "sized.py").write_text(
    "from gen.models.transformer import FeedForward\n\n"
    "class Sized(FeedForward):\n  @staticmethod\n  def count_flops(config, length):\n"
    "    return 4 * length * config.width * config.feed_forward_width\n"
  )
  model = dataclasses.replace(MODEL, feed_forward_module=f"{tmp_path}/sized.py:Sized")
  assert counts.count_flops(model, 7) == counts.count_flops(MODEL, 7)


@pytest.mark.parametrize(
  ("fields", "sentence"),
  [
    (
      {"feed_forward_module": "Narrow"},
      r"Narrow returns an array of shape \(1, 2, 11\); it must return an array",
    ),
    ({"block": "alibi"}, "alibi is no subclass of flax.linen.Module"),
    ({"positions": "single"}, "single takes 1 arguments; it must be a function of"),
    ({"activation": "alibi"}, "alibi failed: TypeError: alibi\\(\\) missing 2 required"),
    ({"family": "Narrow"}, "Narrow has no method hidden"),
  ],
)
def test_a_part_that_does_not_fit_is_one_sentence(own, fields, sentence):
  model = dataclasses.replace(MODEL, **{name: own(text) for name, text in fields.items()})
  with pytest.raises(UserError, match=sentence) as raised:
    language_model.parameter_shapes(model)
  assert "\n" not in str(raised.value)


def test_no_format_holds_a_model_with_own_code(own):
  with pytest.raises(UserError, match=r"no format holds model\.block .*own\.py:Block"):
    description.describe_model(dataclasses.replace(MODEL, block=own("Block")))


@pytest.mark.parametrize(
  ("run", "sentence"),
  [
    (
      Run(model=Model(block="mine")),
      "model.block is 'mine'; name a function or class as package.module:name",
    ),
    (Run(model=Model(block="a:B", activation="a:b")), None),
    (
      Run(model=Model(block="a:B", feed_forward_module="a:C")),
      "which model.block a:B replaces; leave it out",
    ),
    (Run(model=Model(family="a:B", positions="a:b")), "which model.family a:B replaces"),
    (
      Run(model=Model(family="encoder_decoder", block="a:B")),
      "model.block replaces blocks of encoders and decoders",
    ),
    (Run(model=Model(norm="a:b")), "model.norm is 'a:b'; it must be one of layernorm, rmsnorm$"),
    (
      Run(data=Data(tokenizer="words")),
      "data.tokenizer is 'words'; .* or a class of your own",
    ),
    (Run(callbacks=("watch",)), r"callbacks\[0\] is 'watch'; name a function"),
  ],
)
def test_references_are_taken_where_they_are_used_and_nowhere_else(run, sentence):
  if sentence is None:
    return validation.check_run(dataclasses.replace(run, steps=1))
  with pytest.raises(UserError, match=sentence):
    validation.check_run(dataclasses.replace(run, steps=1))


def test_objects_given_in_python_become_references_and_empty_ones_leave_the_hash():
  run = Run(optimizer=Optimizer(schedule=user_code.is_reference), callbacks=[user_code.load_object])
  assert run.optimizer.schedule == "gen.io.user_code:is_reference"
  assert run.callbacks == ("gen.io.user_code:load_object",)
  run.data.corpus = objectives.families_of
  assert run.data.corpus == "python:gen.data.objectives.registry:families_of"
  fields = identity_fields(Run())
  assert not {"block", "attention_module", "feed_forward_module"} & set(fields["model"])
  assert not {"callbacks", "callback_every", "metrics"} & set(fields)
