"""Named models as configs: `presets.get_model("gpt2")` is the `Model` with exactly GPT-2's parameters.

On the command line, `--config=configs/preset.py:gpt2` trains one.

A preset sets the architecture and the published dropout; precision, remat and scan have their defaults. BERT and
RoBERTa have the pooler of their papers, and `-mlm` is the model with the masked-language head and no pooler.
`chinchilla-44m` to `chinchilla-16183m` are the rows of table A9 of arXiv:2203.15556, named by its sizes. Letters are
those of gen/config/model.py.
"""

import dataclasses
import difflib
from dataclasses import replace
from typing import TypedDict

from gen.config import Model
from gen.errors import UserError

_BIASED = Model(bias=True, norm_bias=True, tied=True)
_GPT = replace(_BIASED, family="decoder", positions="learned", activation="gelu_tanh")
_BLOOM = replace(
  _BIASED, family="decoder", vocab=250_880, positions="alibi", embedding_norm=True, activation="gelu_tanh",
  context=2048,
)  # fmt: skip
_BERT = replace(
  _BIASED, family="encoder", vocab=30_522, positions="learned", context=512, token_types=2, norm_placement="post",
  norm_epsilon=1e-12, embedding_norm=True, activation="gelu", dropout=0.1,
)  # fmt: skip
# arXiv:1907.11692 and the published config.json. Learned positions count from 2, after the padding's.
_ROBERTA = replace(_BERT, vocab=50_265, position_offset=2, token_types=1, norm_epsilon=1e-5)
_T5 = Model(
  family="encoder_decoder", vocab=32_128, positions="relative", norm="rmsnorm", norm_epsilon=1e-6,
  attention_scale=1.0, activation="relu", tied=True, dropout=0.1,
)  # fmt: skip
_T5_V1_1 = replace(_T5, activation="geglu", tied=False)
_BART = replace(
  _BIASED, family="encoder_decoder", vocab=50_265, positions="learned", context=1024, position_offset=2,
  norm_placement="post", embedding_norm=True, activation="gelu", dropout=0.1,
)  # fmt: skip
_TRANSFORMER = replace(
  _BIASED, family="encoder_decoder", vocab=37_000, positions="sinusoidal", norm_placement="post", activation="relu",
  norm_epsilon=1e-6, head_width=64,
)  # fmt: skip
_CHINCHILLA = Model(
  family="decoder", vocab=32_000, positions="transformer_xl", norm="rmsnorm", context=2048, activation="gelu_tanh",
  bias=True, tied=True,
)  # fmt: skip

_LLAMA = Model(family="decoder", positions="rotary", norm="rmsnorm", activation="swiglu")
_QWEN3 = replace(
  _LLAMA, vocab=151_936, head_width=128, key_value_heads=8, qk_norm=True, rotary_base=1_000_000.0,
  norm_epsilon=1e-6, context=40_960,
)  # fmt: skip
_GEMMA = replace(
  _LLAMA, vocab=256_000, head_width=256, activation="geglu", norm_offset=True, norm_epsilon=1e-6, tied=True,
  context=8192,
)  # fmt: skip
_OLMO2 = replace(
  _LLAMA, vocab=100_352, head_width=128, norm_placement="output", qk_norm=True, qk_norm_joint=True,
  rotary_base=500_000.0, norm_epsilon=1e-6, context=4096,
)  # fmt: skip
_PYTHIA = Model(
  family="decoder", positions="rotary", activation="gelu", parallel=True, bias=True, norm_bias=True, context=2048,
)  # fmt: skip


class LlamaFields(TypedDict, total=False):
  """Fields of `Model` in which the models of `LLAMA` differ beside their sizes."""

  vocab: int
  context: int
  norm_epsilon: float
  rotary_base: float
  rotary_factor: float
  rotary_context: int
  qkv_bias: bool
  window: int
  tied: bool


# config.json of the checkpoints that their makers published, as the paper of each family describes them.
_LLAMA3: LlamaFields = {"vocab": 128_256, "rotary_base": 500_000.0}
# Llama 3.1 stretches the wavelengths of a context of 8,192 by 8 (its config.json).
_LLAMA3_1: LlamaFields = _LLAMA3 | {"context": 131_072, "rotary_factor": 8.0, "rotary_context": 8192}
# Qwen2.5 (arXiv:2412.15115), whose small models tie embeddings and have the smaller vocabulary.
_QWEN: LlamaFields = {"qkv_bias": True, "rotary_base": 1_000_000.0, "context": 131_072}
# 151,936 rows: the tokenizer's 151,665 ids, padded.
_QWEN_SMALL: LlamaFields = _QWEN | {"vocab": 151_936, "tied": True, "norm_epsilon": 1e-6}

# name: (width, depth, feed-forward width, heads, key and value heads, more)
_OLD: LlamaFields = {"vocab": 32_000, "context": 2048}
# Llama 2 (arXiv:2307.09288, table 1).
_SECOND: LlamaFields = {"vocab": 32_000, "context": 4096}
# Llama (arXiv:2302.13971, table 2), Llama 2 (arXiv:2307.09288), Llama 3 (arXiv:2407.21783, table 3), Mistral
# (arXiv:2310.06825, table 1), Qwen2.5.
LLAMA: dict[str, tuple[int, int, int, int, int, LlamaFields]] = {
  "llama-7b": (4096, 32, 11_008, 32, 32, _OLD | {"norm_epsilon": 1e-6}),
  "llama-13b": (5120, 40, 13_824, 40, 40, _OLD | {"norm_epsilon": 1e-6}),
  "llama-33b": (6656, 60, 17_920, 52, 52, _OLD | {"norm_epsilon": 1e-6}),
  "llama-65b": (8192, 80, 22_016, 64, 64, _OLD),
  "llama-2-7b": (4096, 32, 11_008, 32, 32, _SECOND),
  "llama-2-13b": (5120, 40, 13_824, 40, 40, _SECOND),
  "llama-2-70b": (8192, 80, 28_672, 64, 8, _SECOND),
  "llama-3-8b": (4096, 32, 14_336, 32, 8, _LLAMA3 | {"context": 8192}),
  "llama-3-70b": (8192, 80, 28_672, 64, 8, _LLAMA3 | {"context": 8192}),
  "llama-3.1-8b": (4096, 32, 14_336, 32, 8, _LLAMA3_1),
  "llama-3.1-70b": (8192, 80, 28_672, 64, 8, _LLAMA3_1),
  "llama-3.1-405b": (16_384, 126, 53_248, 128, 8, _LLAMA3_1),
  "mistral-7b": (4096, 32, 14_336, 32, 8, {"vocab": 32_000, "context": 32_768, "window": 4096}),
  "qwen2.5-0.5b": (896, 24, 4864, 14, 2, _QWEN_SMALL | {"context": 32_768}),
  "qwen2.5-1.5b": (1536, 28, 8960, 12, 2, _QWEN_SMALL),
  "qwen2.5-3b": (2048, 36, 11_008, 16, 2, _QWEN_SMALL | {"context": 32_768}),
  "qwen2.5-7b": (3584, 28, 18_944, 28, 4, _QWEN | {"vocab": 152_064, "norm_epsilon": 1e-6}),
  "qwen2.5-14b": (5120, 48, 13_824, 40, 8, _QWEN | {"vocab": 152_064}),
  "qwen2.5-32b": (5120, 64, 27_648, 40, 8, _QWEN | {"vocab": 152_064}),
  "qwen2.5-72b": (8192, 80, 29_568, 64, 8, _QWEN | {"vocab": 152_064}),
}
# name: (width, depth, feed-forward width, heads, more); arXiv:2505.09388, arXiv:2403.08295, arXiv:2501.00656
LATER: dict[str, tuple[int, int, int, int, Model]] = {
  "qwen3-0.6b": (1024, 28, 3072, 16, replace(_QWEN3, tied=True)),
  "qwen3-1.7b": (2048, 28, 6144, 16, replace(_QWEN3, tied=True)),
  "qwen3-4b": (2560, 36, 9728, 32, replace(_QWEN3, tied=True)),
  "qwen3-8b": (4096, 36, 12_288, 32, _QWEN3),
  "qwen3-14b": (5120, 40, 17_408, 40, _QWEN3),
  "qwen3-32b": (5120, 64, 25_600, 64, _QWEN3),
  "gemma-2b": (2048, 18, 16_384, 8, replace(_GEMMA, key_value_heads=1)),
  "gemma-7b": (3072, 28, 24_576, 16, _GEMMA),
  "olmo2-1b": (2048, 16, 8192, 16, _OLMO2),
  "olmo2-7b": (4096, 32, 11_008, 32, _OLMO2),
  "olmo2-13b": (5120, 40, 13_824, 40, _OLMO2),
  "olmo2-32b": (5120, 64, 27_648, 40, replace(_OLMO2, key_value_heads=8)),
}
# name: (width, depth, head width, vocabulary)
PYTHIA = {
  "pythia-70m": (512, 6, 64, 50_304),
  "pythia-160m": (768, 12, 64, 50_304),
  "pythia-410m": (1024, 24, 64, 50_304),
  "pythia-1b": (2048, 16, 256, 50_304),
  "pythia-1.4b": (2048, 24, 128, 50_304),
  "pythia-2.8b": (2560, 32, 80, 50_304),
  "pythia-6.9b": (4096, 32, 128, 50_432),
  "pythia-12b": (5120, 36, 128, 50_688),
}
# name: (width, depth, head width)
GPT2 = {
  "gpt2": (768, 12, 64),
  "gpt2-medium": (1024, 24, 64),
  "gpt2-large": (1280, 36, 64),
  "gpt2-xl": (1600, 48, 64),
}
# Table 2.1 of arXiv:2005.14165. The widths of XL and 13B are heads times head width here, which gives the parameters of
# its table D.1. All layers have dense attention; in the paper every second one is sparse, with the same parameters.
GPT3 = {
  "gpt3-small": (768, 12, 64),
  "gpt3-medium": (1024, 24, 64),
  "gpt3-large": (1536, 24, 96),
  "gpt3-xl": (2048, 24, 128),
  "gpt3-2.7b": (2560, 32, 80),
  "gpt3-6.7b": (4096, 32, 128),
  "gpt3-13b": (5120, 40, 128),
  "gpt3-175b": (12_288, 96, 128),
}
# name: (width, depth, head width); arXiv:2211.05100
BLOOM = {
  "bloom-560m": (1024, 24, 64),
  "bloom-1b1": (1536, 24, 96),
  "bloom-1b7": (2048, 24, 128),
  "bloom-3b": (2560, 30, 80),
  "bloom-7b1": (4096, 30, 128),
  "bloom-176b": (14_336, 70, 128),
}
# name: (width, depth of each stack, heads, head width, feed-forward width)
T5 = {
  "t5-small": (512, 6, 8, 64, 2048),
  "t5-base": (768, 12, 12, 64, 3072),
  "t5-large": (1024, 24, 16, 64, 4096),
  "t5-3b": (1024, 24, 32, 128, 16_384),
  "t5-11b": (1024, 24, 128, 128, 65_536),
}
# The same columns. T5 1.1 is described where its checkpoints are published, not in the paper; mT5 has its shapes
# (arXiv:2010.11934).
T5_V1_1 = {
  "t5-v1.1-small": (512, 8, 6, 64, 1024),
  "t5-v1.1-base": (768, 12, 12, 64, 2048),
  "t5-v1.1-large": (1024, 24, 16, 64, 2816),
  "t5-v1.1-xl": (2048, 24, 32, 64, 5120),
  "t5-v1.1-xxl": (4096, 24, 64, 64, 10_240),
}
# Table A9 of arXiv:2203.15556: (parameters in millions, width, feed-forward width, head width, heads, depth)
CHINCHILLA = (
  (44, 512, 2048, 64, 8, 8),
  (57, 576, 2304, 64, 9, 9),
  (74, 640, 2560, 64, 10, 10),
  (90, 640, 2560, 64, 10, 13),
  (106, 640, 2560, 64, 10, 16),
  (117, 768, 3072, 64, 12, 12),
  (140, 768, 3072, 64, 12, 15),
  (163, 768, 3072, 64, 12, 18),
  (175, 896, 3584, 64, 14, 14),
  (196, 896, 3584, 64, 14, 16),
  (217, 896, 3584, 64, 14, 18),
  (251, 1024, 4096, 64, 16, 16),
  (278, 1024, 4096, 64, 16, 18),
  (306, 1024, 4096, 64, 16, 20),
  (425, 1280, 5120, 128, 10, 18),
  (489, 1280, 5120, 128, 10, 21),
  (509, 1408, 5632, 128, 11, 18),
  (552, 1280, 5120, 128, 10, 24),
  (587, 1408, 5632, 128, 11, 21),
  (632, 1536, 6144, 128, 12, 19),
  (664, 1408, 5632, 128, 11, 24),
  (724, 1536, 6144, 128, 12, 22),
  (816, 1536, 6144, 128, 12, 25),
  (893, 1792, 7168, 128, 14, 20),
  (1018, 1792, 7168, 128, 14, 23),
  (1143, 1792, 7168, 128, 14, 26),
  (1266, 2048, 8192, 128, 16, 22),
  (1424, 2176, 8704, 128, 17, 22),
  (1429, 2048, 8192, 128, 16, 25),
  (1593, 2048, 8192, 128, 16, 28),
  (1609, 2176, 8704, 128, 17, 25),
  (1731, 2304, 9216, 128, 18, 24),
  (1794, 2176, 8704, 128, 17, 28),
  (2007, 2304, 9216, 128, 18, 28),
  (2283, 2304, 9216, 128, 18, 32),
  (2298, 2560, 10_240, 128, 20, 26),
  (2639, 2560, 10_240, 128, 20, 30),
  (2980, 2560, 10_240, 128, 20, 34),
  (3530, 2688, 10_752, 128, 22, 36),
  (3802, 2816, 11_264, 128, 22, 36),
  (4084, 2944, 11_776, 128, 22, 36),
  (4516, 3072, 12_288, 128, 24, 36),
  (6796, 3584, 14_336, 128, 28, 40),
  (9293, 4096, 16_384, 128, 32, 42),
  (11_452, 4352, 17_408, 128, 32, 47),
  (12_295, 4608, 18_432, 128, 36, 44),
  (12_569, 4608, 18_432, 128, 32, 47),
  (13_735, 4864, 19_456, 128, 32, 47),
  (14_940, 4992, 19_968, 128, 32, 49),
  (16_183, 5120, 20_480, 128, 40, 47),
)


def _sized(shared: Model, sizes: dict[str, tuple[int, int, int]]) -> dict[str, Model]:
  """Returns models of sizes (width, depth, head width) with shared fields."""
  return {
    name: replace(shared, width=width, depth=depth, head_width=head_width)
    for name, (width, depth, head_width) in sizes.items()
  }


def _t5(shared: Model, sizes: dict[str, tuple[int, int, int, int, int]]) -> dict[str, Model]:
  models = {}
  for name, (width, depth, heads, head_width, feed_forward) in sizes.items():
    # T5 scales the hidden states before the logits by 1 / sqrt(width). Version 1.1 is untied and does not.
    scale = width**-0.5 if shared.tied else 1.0
    models[name] = replace(
      shared, width=width, depth=depth, heads=heads, head_width=head_width, feed_forward=feed_forward,
      logits_scale=scale,
    )  # fmt: skip
  return models


def _chinchilla(width: int, feed_forward: int, head_width: int, heads: int, depth: int) -> Model:
  return replace(
    _CHINCHILLA, width=width, depth=depth, heads=heads, head_width=head_width, feed_forward=feed_forward
  )


def _llama(width: int, depth: int, feed_forward: int, heads: int, groups: int, more: LlamaFields) -> Model:
  return replace(
    _LLAMA, width=width, depth=depth, heads=heads, head_width=width // heads, feed_forward=feed_forward,
    key_value_heads=groups if groups != heads else 0, **more,
  )  # fmt: skip


def _later(width: int, depth: int, feed_forward: int, heads: int, shared: Model) -> Model:
  # Gemma's embeddings are scaled by the root of the width.
  scale = width**0.5 if shared.norm_offset else 1.0
  return replace(
    shared, width=width, depth=depth, feed_forward=feed_forward, heads=heads, embedding_scale=scale
  )


def _models() -> dict[str, Model]:
  bert_sizes = {"-base": (768, 12, 64), "-large": (1024, 24, 64)}
  models = {"gpt1": replace(_GPT, vocab=40_478, width=768, depth=12, head_width=64, context=512,
                            norm_placement="post", dropout=0.1)}  # fmt: skip
  models |= _sized(replace(_GPT, vocab=50_257, context=1024, dropout=0.1), GPT2)
  models |= _sized(replace(_GPT, vocab=50_257, context=2048), GPT3)
  models |= _sized(_BLOOM, BLOOM)
  for name, shared in (("bert", _BERT), ("roberta", _ROBERTA)):
    pooled, with_head = replace(shared, pooler=True), replace(shared, head_transform=True, head_bias=True)
    models |= _sized(pooled, {name + size: shape for size, shape in bert_sizes.items()})
    models |= _sized(with_head, {f"{name}{size}-mlm": shape for size, shape in bert_sizes.items()})
  models |= _t5(_T5, T5) | _t5(_T5_V1_1, T5_V1_1)
  models |= _sized(_BART, {"bart-base": (768, 6, 64), "bart-large": (1024, 12, 64)})
  for name, width, dropout in (("base", 512, 0.1), ("big", 1024, 0.3)):
    models[f"transformer-{name}"] = replace(
      _TRANSFORMER, width=width, depth=6, embedding_scale=width**0.5, dropout=dropout
    )
  models |= {f"chinchilla-{row[0]}m": _chinchilla(*row[1:]) for row in CHINCHILLA}
  models["chinchilla-70b"] = _chinchilla(8192, 32_768, 128, 64, 80)
  models |= {name: _llama(*row) for name, row in LLAMA.items()}
  models |= {name: _later(*row) for name, row in LATER.items()}
  models |= {
    name: replace(_PYTHIA, width=width, depth=depth, head_width=head, rotary_width=head // 4, vocab=vocab)
    for name, (width, depth, head, vocab) in PYTHIA.items()
  }
  models["modern"] = Model(
    family="decoder", vocab=32_000, width=2048, depth=22, head_width=64, key_value_heads=4, feed_forward=5632,
    context=2048, activation="swiglu", norm="rmsnorm", positions="rotary",
  )  # fmt: skip
  return models


_MODELS = _models()
DEFAULT_LENGTH = 1024  # positions of a row if a preset has no context
ALIASES = {
  "openai-gpt": "gpt1",
  "gpt3": "gpt3-175b",
  "bert-base-uncased": "bert-base",
  "bert-large-uncased": "bert-large",
  "bloom": "bloom-176b",
  "chinchilla": "chinchilla-70b",
}


# The pretraining objective of each line of models, by the first part of a preset's name; `causal` for all others. The
# original Transformer was trained on pairs of texts; with single texts, `prefix` is the nearest objective.
_OBJECTIVES = {
  "bert": "masked_static",
  "roberta": "masked",
  "t5": "span_corruption",
  "bart": "bart",
  "transformer": "prefix",
}


def preset_names() -> tuple[str, ...]:
  """Returns the names of all presets."""
  return tuple(_MODELS)


def get_objective(name: str) -> str:
  """Returns the training objective of a preset's paper, as `gen.data.objectives` names it.

  >>> get_objective("roberta-large"), get_objective("gpt2")
  ('masked', 'causal')

  Raises:
    UserError: for an unknown name, with the nearest known one.
  """
  return _OBJECTIVES.get(_resolve(name).split("-")[0], "causal")


def get_model(name: str) -> Model:
  """Returns a copy of the preset's config, which the caller may change.

  >>> get_model("bert-base").width
  768

  Raises:
    UserError: for an unknown name, with the nearest known one.
  """
  return dataclasses.replace(_MODELS[_resolve(name)])


def get_length(name: str) -> int:
  """Returns the number of positions of a row of a preset: its context, or `DEFAULT_LENGTH` if it has none.

  >>> get_length("gpt2"), get_length("t5-small")
  (1024, 1024)

  Raises:
    UserError: for an unknown name, with the nearest known one.
  """
  return get_model(name).context or DEFAULT_LENGTH


def _resolve(name: str) -> str:
  preset = ALIASES.get(name, name)
  if preset not in _MODELS:
    nearest = difflib.get_close_matches(name, [*_MODELS, *ALIASES], n=1, cutoff=0.0)[0]
    raise UserError(f"there is no preset {name!r}; the nearest is {nearest!r}")
  return preset
