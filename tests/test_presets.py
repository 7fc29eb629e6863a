"""Named models have the published numbers of parameters, each one, counted without allocating any."""

import math

import jax
import pytest

from gen import counts, presets
from gen.errors import UserError
from gen.models import language_model
from gen.scaling.planning import published_models

PUBLISHED = {  # of the weights that everyone uses
  "gpt1": 116_534_784,
  "gpt2": 124_439_808,
  "gpt2-medium": 354_823_168,
  "gpt2-large": 774_030_080,
  "gpt2-xl": 1_557_611_200,
  "gpt3-175b": 174_604_259_328,
  "bert-base": 109_482_240,
  "bert-base-mlm": 109_514_298,
  "bert-large": 335_141_888,
  "roberta-base": 124_645_632,
  "roberta-base-mlm": 124_697_433,
  "roberta-large": 355_359_744,
  "bloom-560m": 559_214_592,
  "bloom-1b1": 1_065_314_304,
  "bloom-1b7": 1_722_408_960,
  "bloom-3b": 3_002_557_440,
  "bloom-7b1": 7_069_016_064,
  "bloom-176b": 176_247_271_424,
  "t5-small": 60_506_624,
  "t5-base": 222_903_552,
  "t5-large": 737_668_096,
  "t5-3b": 2_851_598_336,
  "t5-11b": 11_307_321_344,
  "t5-v1.1-small": 76_961_152,
  "t5-v1.1-base": 247_577_856,
  "bart-base": 139_420_416,
  "bart-large": 406_291_456,
  "qwen3-0.6b": 596_049_920,
  "qwen3-1.7b": 1_720_574_976,
  "qwen3-4b": 4_022_468_096,
  "qwen3-8b": 8_190_735_360,
  "qwen3-14b": 14_768_307_200,
  "qwen3-32b": 32_762_123_264,
  "gemma-2b": 2_506_172_416,  # of the Hugging Face weights, without 128 unused rows
  "gemma-7b": 8_537_680_896,
  "olmo2-1b": 1_484_916_736,
  "olmo2-7b": 7_298_617_344,
  "olmo2-13b": 13_716_198_400,
  "olmo2-32b": 32_234_279_936,
  "modern": 1_100_048_384,  # the shape of TinyLlama (arXiv:2401.02385)
}
ROUNDED = {  # as their papers say, in millions: arXiv:1706.03762 (table 3 rounds to 65 and 213); arXiv:2005.14165
  "transformer-base": (63.0, 0.1),
  "transformer-big": (214, 0.5),
  "gpt3-small": (125, 1),
  "gpt3-medium": (356, 1),
  "gpt3-large": (760, 1),
  "gpt3-2.7b": (2_650, 5),
  "gpt3-6.7b": (6_660, 10),
  "gpt3-13b": (12_850, 20),
  "t5-v1.1-large": (783, 1),
  "t5-v1.1-xl": (2_850, 1),
  "t5-v1.1-xxl": (11_135, 5),
  "chinchilla-70b": (70_000, 500),
}
# Table A9 of arXiv:2203.15556: parameters in millions, width, feed-forward width, key width, heads, layers.
TABLE_A9 = """
  44 512 2048 64 8 8        57 576 2304 64 9 9          74 640 2560 64 10 10       90 640 2560 64 10 13
  106 640 2560 64 10 16     117 768 3072 64 12 12       140 768 3072 64 12 15      163 768 3072 64 12 18
  175 896 3584 64 14 14     196 896 3584 64 14 16       217 896 3584 64 14 18      251 1024 4096 64 16 16
  278 1024 4096 64 16 18    306 1024 4096 64 16 20      425 1280 5120 128 10 18    489 1280 5120 128 10 21
  509 1408 5632 128 11 18   552 1280 5120 128 10 24     587 1408 5632 128 11 21    632 1536 6144 128 12 19
  664 1408 5632 128 11 24   724 1536 6144 128 12 22     816 1536 6144 128 12 25    893 1792 7168 128 14 20
  1018 1792 7168 128 14 23  1143 1792 7168 128 14 26    1266 2048 8192 128 16 22   1424 2176 8704 128 17 22
  1429 2048 8192 128 16 25  1593 2048 8192 128 16 28    1609 2176 8704 128 17 25   1731 2304 9216 128 18 24
  1794 2176 8704 128 17 28  2007 2304 9216 128 18 28    2283 2304 9216 128 18 32   2298 2560 10240 128 20 26
  2639 2560 10240 128 20 30 2980 2560 10240 128 20 34   3530 2688 10752 128 22 36  3802 2816 11264 128 22 36
  4084 2944 11776 128 22 36 4516 3072 12288 128 24 36   6796 3584 14336 128 28 40  9293 4096 16384 128 32 42
  11452 4352 17408 128 32 47  12295 4608 18432 128 36 44  12569 4608 18432 128 32 47  13735 4864 19456 128 32 47
  14940 4992 19968 128 32 49  16183 5120 20480 128 40 47
"""
NUMBERS = [int(word) for word in TABLE_A9.split()]
ROWS = [NUMBERS[i : i + 6] for i in range(0, len(NUMBERS), 6)]


def size_of_tree(model):
  """Returns the parameters of the module's own tree, from shapes alone."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(language_model.parameter_shapes(model)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_named_model_has_the_published_parameters(name):
  assert counts.count_parameters(presets.get_model(name)).total == PUBLISHED[name]


@pytest.mark.parametrize("name", [*presets.LLAMA, *presets.PYTHIA])
def test_llama_mistral_qwen_and_pythia_have_the_parameters_of_the_released_weights(name):
  assert counts.count_parameters(presets.get_model(name)).total == published_models.MODELS[name].params


def test_llama_3_1_scales_its_positions_and_mistral_has_a_window():
  llama, mistral, pythia = (presets.get_model(name) for name in ("llama-3.1-8b", "mistral-7b", "pythia-1b"))
  assert (llama.rotary_factor, llama.rotary_context, llama.rotary_base) == (8.0, 8192, 5e5)
  assert (mistral.window, pythia.parallel, pythia.rotary_width) == (4096, True, 64)


LINES = (
  "llama-3-8b",
  "qwen2.5-0.5b",
  "qwen3-0.6b",
  "gemma-2b",
  "olmo2-1b",
  "pythia-70m",
  "gpt1",
  "gpt2",
  "gpt3-175b",
  "bert-base",
  "bert-base-mlm",
  "roberta-base",
  "bloom-560m",
  "t5-small",
  "t5-v1.1-small",
  "bart-base",
  "transformer-base",
  "chinchilla-44m",
  "modern",
)


@pytest.mark.parametrize("name", LINES)
def test_the_module_of_a_preset_has_as_many_parameters_as_are_counted(name):
  model = presets.get_model(name)
  assert size_of_tree(model) == counts.count_parameters(model).total


@pytest.mark.parametrize("name", ROUNDED)
def test_a_model_that_was_published_in_round_numbers_is_near_them(name):
  wanted, tolerance = ROUNDED[name]
  assert counts.count_parameters(presets.get_model(name)).total / 1e6 == pytest.approx(wanted, abs=tolerance)


def test_every_row_of_chinchillas_table_is_a_preset_within_seven_permille():
  assert len(ROWS) == 50
  for millions, width, feed_forward, key_width, heads, depth in ROWS:
    model = presets.get_model(f"chinchilla-{millions}m")
    shape = (model.width, model.feed_forward_width, model.head_width, model.n_heads, model.depth)
    assert shape == (width, feed_forward, key_width, heads, depth)
    assert counts.count_parameters(model).total / 1e6 == pytest.approx(millions, rel=0.007)


def test_chinchillas_keys_are_as_wide_as_its_table_says_not_as_its_residual_stream():
  model = presets.get_model("chinchilla-3530m")
  assert model.attention_width == 22 * 128 != model.width


def test_architectures_are_those_of_their_papers():
  modern = presets.get_model("modern")
  assert (modern.norm, modern.activation, modern.positions, modern.bias) == (
    "rmsnorm",
    "swiglu",
    "rotary",
    False,
  )
  assert modern.n_key_value_heads < modern.n_heads
  bert, gpt2, bloom = (presets.get_model(name) for name in ("bert-base", "gpt2", "bloom-560m"))
  assert (bert.norm_placement, bert.activation, bert.token_types, bert.pooler) == ("post", "gelu", 2, True)
  assert (gpt2.norm_placement, gpt2.positions, gpt2.tied) == ("pre", "learned", True)
  assert (bloom.positions, bloom.embedding_norm) == ("alibi", True)
  t5, later, original = (presets.get_model(name) for name in ("t5-base", "t5-v1.1-base", "transformer-base"))
  assert (t5.positions, t5.norm, t5.attention_scale, t5.logits_scale) == (
    "relative",
    "rmsnorm",
    1.0,
    768**-0.5,
  )
  assert (later.activation, later.tied, later.logits_scale) == ("geglu", False, 1.0)
  assert (original.positions, original.norm_placement) == ("sinusoidal", "post")
  assert original.embedding_scale == pytest.approx(math.sqrt(512))


def test_objectives_are_those_of_their_papers():
  wanted = {
    "gpt1": "causal",
    "bloom": "causal",
    "chinchilla-44m": "causal",
    "modern": "causal",
    "bert-large-mlm": "masked_static",
    "roberta-base": "masked",
    "t5-v1.1-xl": "span_corruption",
    "bart-base": "bart",
  }
  assert {name: presets.get_objective(name) for name in wanted} == wanted


def test_a_preset_may_be_changed_without_changing_the_next_ones():
  presets.get_model("gpt2").width = 7
  assert presets.get_model("gpt2").width == 768


def test_other_names_of_a_model_are_known():
  assert presets.get_model("bert-base-uncased") == presets.get_model("bert-base")
  assert presets.get_model("chinchilla") == presets.get_model("chinchilla-70b")
  assert set(presets.ALIASES.values()) <= set(presets.preset_names())


@pytest.mark.parametrize(
  ("name", "nearest"), [("gtp2", "gpt2"), ("bert-bse", "bert-base"), ("t5-v1.1-sml", "t5-v1.1-small")]
)
def test_an_unknown_name_is_told_the_nearest(name, nearest):
  for ask in (presets.get_model, presets.get_objective):
    with pytest.raises(UserError, match=f"no preset '{name}'; the nearest is '{nearest}'"):
      ask(name)
