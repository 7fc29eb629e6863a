"""Published models: every row has a source, shapes give the counts, and any spelling of a name finds its row."""

import re

import pytest

from gen.scaling.planning import plan, published_models
from gen.scaling.planning.published_models import ALIASES, MODELS

SOURCE = re.compile(r"arXiv:\d{4}\.\d{5}\b|model card of \S+/\S+")


def llama_count(vocab, width, depth, hidden, heads, groups, head=None, tied=False, bias=False):
  """Counts a decoder with rotary positions, RMSNorm and a gated feed-forward layer, from its configuration."""
  head = head or width // heads
  attention = 2 * width * heads * head + 2 * width * groups * head + bias * (heads + 2 * groups) * head
  return depth * (attention + 3 * width * hidden + 2 * width) + vocab * width * (2 - tied) + width


def gpt2_count(width, depth, vocab=50257, positions=2048):
  """Counts a GPT-2 with biases, learned positions and a tied head."""
  return depth * (12 * width**2 + 13 * width) + (vocab + positions) * width + 2 * width


def neox_count(vocab, width, depth):
  """Counts a GPT-NeoX with biases, rotary positions and an untied head."""
  return depth * (12 * width**2 + 13 * width) + 2 * vocab * width + 2 * width


def falcon_count(width, depth, groups, norms):
  """Counts a Falcon without biases in its matrices, with heads of 64 and an untied head."""
  layer = 10 * width**2 + 2 * width * groups * 64 + 2 * norms * width
  return depth * layer + 2 * 65024 * width + 2 * width


COUNTS = {
  "pythia-70m": neox_count(50304, 512, 6),
  "pythia-160m": neox_count(50304, 768, 12),
  "pythia-410m": neox_count(50304, 1024, 24),
  "pythia-1b": neox_count(50304, 2048, 16),
  "pythia-1.4b": neox_count(50304, 2048, 24),
  "pythia-2.8b": neox_count(50304, 2560, 32),
  "pythia-6.9b": neox_count(50432, 4096, 32),
  "pythia-12b": neox_count(50688, 5120, 36),
  "gpt-neox-20b": neox_count(50432, 6144, 44),
  "cerebras-gpt-111m": gpt2_count(768, 10),
  "cerebras-gpt-256m": gpt2_count(1088, 14),
  "cerebras-gpt-590m": gpt2_count(1536, 18),
  "cerebras-gpt-1.3b": gpt2_count(2048, 24),
  "cerebras-gpt-2.7b": gpt2_count(2560, 32),
  "cerebras-gpt-6.7b": gpt2_count(4096, 32),
  "cerebras-gpt-13b": gpt2_count(5120, 40),
  "bloom-176b": gpt2_count(14336, 70, 250880, positions=2),  # ALiBi; a norm after the embedding
  "llama-7b": llama_count(32000, 4096, 32, 11008, 32, 32),
  "llama-13b": llama_count(32000, 5120, 40, 13824, 40, 40),
  "llama-33b": llama_count(32000, 6656, 60, 17920, 52, 52),
  "llama-65b": llama_count(32000, 8192, 80, 22016, 64, 64),
  "llama-2-7b": llama_count(32000, 4096, 32, 11008, 32, 32),
  "llama-2-13b": llama_count(32000, 5120, 40, 13824, 40, 40),
  "llama-2-70b": llama_count(32000, 8192, 80, 28672, 64, 8),
  "llama-3-8b": llama_count(128256, 4096, 32, 14336, 32, 8),
  "llama-3-70b": llama_count(128256, 8192, 80, 28672, 64, 8),
  "llama-3.1-8b": llama_count(128256, 4096, 32, 14336, 32, 8),
  "llama-3.1-70b": llama_count(128256, 8192, 80, 28672, 64, 8),
  "llama-3.1-405b": llama_count(128256, 16384, 126, 53248, 128, 8),
  "mistral-7b": llama_count(32000, 4096, 32, 14336, 32, 8),
  "tinyllama-1.1b": llama_count(32000, 2048, 22, 5632, 32, 4),
  "mpt-7b": 32 * (12 * 4096**2 + 2 * 4096) + 50432 * 4096 + 4096,  # no biases; ALiBi; tied
  "falcon-7b": falcon_count(4544, 32, 1, 1),
  "falcon-40b": falcon_count(8192, 60, 8, 2),
  "falcon-180b": falcon_count(14848, 80, 8, 2),
  "olmo-7b": 32 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 50304 * 4096,  # norms without parameters
  "deepseek-llm-7b": llama_count(102400, 4096, 30, 11008, 32, 32),
  "deepseek-llm-67b": llama_count(102400, 8192, 95, 22016, 64, 8),
  # Gemma 2 norms the output of each sublayer as well.
  "gemma-2b": llama_count(256128, 2048, 18, 16384, 8, 1, 256, tied=True),
  "gemma-7b": llama_count(256128, 3072, 28, 24576, 16, 16, 256, tied=True),
  "gemma-2-2b": llama_count(256128, 2304, 26, 9216, 8, 4, 256, tied=True) + 26 * 2 * 2304,
  "gemma-2-9b": llama_count(256128, 3584, 42, 14336, 16, 8, 256, tied=True) + 42 * 2 * 3584,
  "gemma-2-27b": llama_count(256128, 4608, 46, 36864, 32, 16, 128, tied=True) + 46 * 2 * 4608,
  "qwen2.5-0.5b": llama_count(151936, 896, 24, 4864, 14, 2, tied=True, bias=True),
  "qwen2.5-1.5b": llama_count(151936, 1536, 28, 8960, 12, 2, tied=True, bias=True),
  "qwen2.5-3b": llama_count(151936, 2048, 36, 11008, 16, 2, tied=True, bias=True),
  "qwen2.5-7b": llama_count(152064, 3584, 28, 18944, 28, 4, bias=True),
  "qwen2.5-14b": llama_count(152064, 5120, 48, 13824, 40, 8, bias=True),
  "qwen2.5-32b": llama_count(152064, 5120, 64, 27648, 40, 8, bias=True),
  "qwen2.5-72b": llama_count(152064, 8192, 80, 29568, 64, 8, bias=True),
  "smollm2-135m": llama_count(49152, 576, 30, 1536, 9, 3, tied=True),
  "smollm2-360m": llama_count(49152, 960, 32, 2560, 15, 5, tied=True),
  "smollm2-1.7b": llama_count(49152, 2048, 24, 8192, 32, 32, tied=True),
}
ROUNDED = {  # counts that papers give to three digits or so
  "gpt-3-small": gpt2_count(768, 12),
  "gpt-3-medium": gpt2_count(1024, 24),
  "gpt-3-large": gpt2_count(1536, 24),
  "gpt-3-xl": gpt2_count(2048, 24),
  "gpt-3-2.7b": gpt2_count(2560, 32),
  "gpt-3-6.7b": gpt2_count(4096, 32),
  "gpt-3-13b": gpt2_count(5120, 40),
  "gpt-3-175b": gpt2_count(12288, 96),
  # Heads of 256 that share one key and value, a gated feed-forward layer of four widths, a tied table of 256,000.
  "palm-8b": 32 * (2 * 4096 * 4096 + 2 * 4096 * 256 + 12 * 4096**2) + 256_000 * 4096,
  "palm-62b": 64 * (2 * 8192 * 8192 + 2 * 8192 * 256 + 12 * 8192**2) + 256_000 * 8192,
  "palm-540b": 118 * (2 * 18432 * 12288 + 2 * 18432 * 256 + 12 * 18432**2) + 256_000 * 18432,
  "gpt-j-6b": 28 * (12 * 4096**2 + 7 * 4096) + 2 * 50400 * 4096 + 50400 + 2 * 4096,
  "mt-nlg-530b": gpt2_count(20480, 105, 51200),
  "jurassic-1-178b": gpt2_count(13824, 76, 262_144),
}


def test_every_row_has_a_source_and_sane_numbers():
  assert len(MODELS) == len(published_models._TABLE) > 60
  for name, one in MODELS.items():
    assert name == one.name == name.lower() and SOURCE.search(one.source), name
    assert 5e7 < one.params < 1e12, name
    assert one.tokens is None or (1e9 < one.tokens < 3e13 and 0.4 < one.tokens / one.params < 4e4), name
  assert [name for name, one in MODELS.items() if one.tokens is None] == ["mistral-7b"]


def test_released_models_have_the_parameters_of_their_shapes():
  assert {name: MODELS[name].params for name in COUNTS} == COUNTS
  for name, count in ROUNDED.items():
    assert MODELS[name].params == pytest.approx(count, rel=4e-3), name
  rest = set(MODELS) - set(COUNTS) - set(ROUNDED)
  assert rest == {"gopher-280b", "chinchilla-70b"}  # whose papers give round numbers


@pytest.mark.parametrize(
  ("name", "params", "tokens"),
  [
    ("gpt-3-175b", 174.6e9, 300e9),  # table D.1: 174,600 M on 300 B
    ("gpt-3-13b", 12.85e9, 300e9),
    ("gopher-280b", 280e9, 300e9),  # table 1 of Hoffmann et al.
    ("mt-nlg-530b", 530e9, 270e9),
    ("jurassic-1-178b", 178e9, 300e9),
    ("chinchilla-70b", 70e9, 1.4e12),
    ("bloom-176b", 176_247_271_424, 366e9),
    ("gpt-j-6b", 6_053_381_344, 402e9),  # its model card
    ("gpt-neox-20b", 20_554_567_680, 150_000 * 1538 * 2048),
    ("pythia-12b", 11_846_072_320, 143_000 * 2_097_152),
    ("cerebras-gpt-6.7b", 6.7e9, 133.2e9),  # table 1 of Dey et al.
    ("cerebras-gpt-13b", 12.9e9, 257.1e9),
    ("llama-33b", 32.5e9, 1.4e12),  # table 2 of Touvron et al.
    ("llama-65b", 65.2e9, 1.4e12),
    ("llama-3.1-405b", 405e9, 15.6e12),
    ("falcon-7b", 7.2e9, 1.5e12),
    ("falcon-180b", 180e9, 3.5e12),
    ("olmo-7b", 6.9e9, 2.46e12),
    ("gemma-2b", 524_550_144 + 1_981_884_416, 3e12),  # table 2 of both reports
    ("gemma-7b", 786_825_216 + 7_751_248_896, 6e12),
    ("gemma-2-9b", 917_962_752 + 8_324_201_984, 8e12),
    ("gemma-2-27b", 1_180_237_824 + 26_047_480_320, 13e12),
    ("qwen2.5-32b", 32.5e9, 18e12),  # its model card
    ("smollm2-360m", 362e6, 4e12),
  ],
)
def test_rows_agree_with_their_papers(name, params, tokens):
  found = MODELS[name]
  assert (found.params, found.tokens) == (pytest.approx(params, rel=9e-3), pytest.approx(tokens, rel=2e-3))


def test_case_hyphens_and_owners_do_not_matter():
  for name, one in (MODELS | {alias: MODELS[name] for alias, name in ALIASES.items()}).items():
    for spelling in (name.upper(), name.replace("-", ""), name.replace("-", "_"), name.replace("-", " ")):
      assert published_models.find_model(spelling) is one, spelling
    assert published_models.find_model(f"Some-Owner/{name.title()}-hf") is one


def test_a_value_without_confirmation_is_said():
  assert {name for name, one in MODELS.items() if one.unconfirmed} == {"palm-8b", "palm-62b"}
  for name in ("palm-62b", "palm-540b"):
    warnings = plan.make_plan("besiroglu2024", model=name).warnings
    assert any("tokens of palm-62b were not confirmed" in said for said in warnings) == (name == "palm-62b")
