"""Published models as data: their parameters, training tokens and source.

`find_model("llama-3-8b")` finds a model by any spelling of its name. N counts all parameters and D tokens processed.
All are dense decoders; the laws do not cover mixtures of experts and encoders.

Each source gives D. N of released models is the number of parameters in the released weights, which their shape gives
exactly (`tests/scaling/planning/test_published_models.py` counts them); N of the others is what their paper gives. A
value that no source gave when the table was compared with its sources is named in `unconfirmed`.
"""

import dataclasses
import difflib
import re

from gen.errors import UserError


@dataclasses.dataclass(frozen=True)
class PublishedModel:
  """A published model.

  Attributes:
    name: its usual name.
    params: N.
    tokens: D that it was trained on; None if it is not published.
    source: paper with its arXiv number, or model card.
    unconfirmed: the value that was not found in the source, "tokens"; empty for a confirmed row.
  """

  name: str
  params: float
  tokens: float | None
  source: str
  unconfirmed: str = ""


_GPT3 = "Brown et al. 2020, arXiv:2005.14165, table D.1"
_HOFFMANN = "Hoffmann et al. 2022, arXiv:2203.15556, table 1"
_PALM = "Chowdhery et al. 2022, arXiv:2204.02311, table 1 and 780 B tokens of its corpus"
_PYTHIA = "Biderman et al. 2023, arXiv:2304.01373, 143,000 steps of 2,097,152 tokens; N of the weights"
_CEREBRAS = "Dey et al. 2023, arXiv:2304.03208, table 1; N of the weights"
_LLAMA = "Touvron et al. 2023, arXiv:2302.13971, table 2; N of the weights"
_LLAMA2 = "Touvron et al. 2023, arXiv:2307.09288, table 1; N of the weights"
_LLAMA3 = "Grattafiori et al. 2024, arXiv:2407.21783, and the model card (over 15 T tokens); N of the weights"
_LLAMA405 = "Grattafiori et al. 2024, arXiv:2407.21783, section 1 (15.6 T tokens); N of the weights"
_FALCON = "Almazrouei et al. 2023, arXiv:2311.16867, and the model card; N of the weights"
_DEEPSEEK = "DeepSeek-AI 2024, arXiv:2401.02954; N of the weights"
_GEMMA = "Gemma Team 2024, arXiv:2403.08295, table 2 and section 4"
_GEMMA2 = "Gemma Team 2024, arXiv:2408.00118, table 2 and section 3"
_QWEN = "Qwen Team 2024, arXiv:2412.15115 (18 T tokens for the family); N of the weights"
_SMOLLM2 = "Allal et al. 2025, arXiv:2502.02737, and the model card; N of the weights"

# (name, N, D, source). Whoever adds a row cites the paper or card that states D.
_TABLE: tuple[PublishedModel, ...] = (
  PublishedModel("gpt-3-small", 125e6, 300e9, _GPT3),
  PublishedModel("gpt-3-medium", 356e6, 300e9, _GPT3),
  PublishedModel("gpt-3-large", 760e6, 300e9, _GPT3),
  PublishedModel("gpt-3-xl", 1.32e9, 300e9, _GPT3),
  PublishedModel("gpt-3-2.7b", 2.65e9, 300e9, _GPT3),
  PublishedModel("gpt-3-6.7b", 6.66e9, 300e9, _GPT3),
  PublishedModel("gpt-3-13b", 12.85e9, 300e9, _GPT3),
  PublishedModel("gpt-3-175b", 174.6e9, 300e9, _GPT3),
  PublishedModel("gopher-280b", 280e9, 300e9, f"Rae et al. 2021, arXiv:2112.11446, by {_HOFFMANN}"),
  PublishedModel("chinchilla-70b", 70e9, 1.4e12, _HOFFMANN),
  PublishedModel("mt-nlg-530b", 530e9, 270e9, f"Smith et al. 2022, arXiv:2201.11990, by {_HOFFMANN}"),
  PublishedModel("jurassic-1-178b", 178e9, 300e9, f"Lieber et al. 2021, by {_HOFFMANN}"),
  PublishedModel("palm-8b", 8.63e9, 780e9, _PALM, "tokens"),
  PublishedModel("palm-62b", 62.5e9, 795e9, _PALM, "tokens"),
  PublishedModel("palm-540b", 540.35e9, 780e9, _PALM),
  PublishedModel("bloom-176b", 176_247_271_424, 366e9, "BigScience 2022, arXiv:2211.05100; N of the weights"),
  PublishedModel(
    "gpt-j-6b", 6_053_381_344, 402e9, "Wang and Komatsuzaki 2021, the model card of EleutherAI/gpt-j-6b"
  ),
  PublishedModel(
    "gpt-neox-20b",
    20_554_567_680,
    472e9,
    "Black et al. 2022, arXiv:2204.06745, 150,000 steps of 3.15 M tokens; N of the weights",
  ),
  PublishedModel("pythia-70m", 70_426_624, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-160m", 162_322_944, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-410m", 405_334_016, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-1b", 1_011_781_632, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-1.4b", 1_414_647_808, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-2.8b", 2_775_208_960, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-6.9b", 6_857_302_016, 299_892_736_000, _PYTHIA),
  PublishedModel("pythia-12b", 11_846_072_320, 299_892_736_000, _PYTHIA),
  PublishedModel("cerebras-gpt-111m", 111_050_496, 2.2e9, _CEREBRAS),
  PublishedModel("cerebras-gpt-256m", 255_977_024, 5.1e9, _CEREBRAS),
  PublishedModel("cerebras-gpt-590m", 590_310_912, 11.8e9, _CEREBRAS),
  PublishedModel("cerebras-gpt-1.3b", 1_315_723_264, 26.3e9, _CEREBRAS),
  PublishedModel("cerebras-gpt-2.7b", 2_651_553_280, 53e9, _CEREBRAS),
  PublishedModel("cerebras-gpt-6.7b", 6_658_404_352, 133.2e9, _CEREBRAS),
  PublishedModel("cerebras-gpt-13b", 12_853_386_240, 257.1e9, _CEREBRAS),
  PublishedModel("llama-7b", 6_738_415_616, 1e12, _LLAMA),
  PublishedModel("llama-13b", 13_015_864_320, 1e12, _LLAMA),
  PublishedModel("llama-33b", 32_528_943_616, 1.4e12, _LLAMA),
  PublishedModel("llama-65b", 65_285_660_672, 1.4e12, _LLAMA),
  PublishedModel("llama-2-7b", 6_738_415_616, 2e12, _LLAMA2),
  PublishedModel("llama-2-13b", 13_015_864_320, 2e12, _LLAMA2),
  PublishedModel("llama-2-70b", 68_976_648_192, 2e12, _LLAMA2),
  PublishedModel("llama-3-8b", 8_030_261_248, 15e12, _LLAMA3),
  PublishedModel("llama-3-70b", 70_553_706_496, 15e12, _LLAMA3),
  PublishedModel("llama-3.1-8b", 8_030_261_248, 15e12, _LLAMA3),
  PublishedModel("llama-3.1-70b", 70_553_706_496, 15e12, _LLAMA3),
  PublishedModel("llama-3.1-405b", 405_853_388_800, 15.6e12, _LLAMA405),
  PublishedModel(
    "mistral-7b",
    7_241_732_096,
    None,
    "Jiang et al. 2023, arXiv:2310.06825, which gives no tokens; N of the weights",
  ),
  PublishedModel(
    "tinyllama-1.1b", 1_100_048_384, 3e12, "Zhang et al. 2024, arXiv:2401.02385; N of the weights"
  ),
  PublishedModel(
    "mpt-7b", 6_649_286_656, 1e12, "MosaicML 2023, the model card of mosaicml/mpt-7b; N of the weights"
  ),
  PublishedModel("falcon-7b", 7_217_189_760, 1.5e12, _FALCON),
  PublishedModel("falcon-40b", 41_835_970_560, 1e12, _FALCON),
  PublishedModel("falcon-180b", 179_522_565_120, 3.5e12, _FALCON),
  PublishedModel(
    "olmo-7b", 6_888_095_744, 2.46e12, "Groeneveld et al. 2024, arXiv:2402.00838, table 1; N of the weights"
  ),
  PublishedModel("deepseek-llm-7b", 6_910_365_696, 2e12, _DEEPSEEK),
  PublishedModel("deepseek-llm-67b", 67_425_001_472, 2e12, _DEEPSEEK),
  PublishedModel("gemma-2b", 2_506_434_560, 3e12, _GEMMA),
  PublishedModel("gemma-7b", 8_538_074_112, 6e12, _GEMMA),
  PublishedModel("gemma-2-2b", 2_614_636_800, 2e12, _GEMMA2),
  PublishedModel("gemma-2-9b", 9_242_164_736, 8e12, _GEMMA2),
  PublishedModel("gemma-2-27b", 27_227_718_144, 13e12, _GEMMA2),
  PublishedModel("qwen2.5-0.5b", 494_032_768, 18e12, _QWEN),
  PublishedModel("qwen2.5-1.5b", 1_543_714_304, 18e12, _QWEN),
  PublishedModel("qwen2.5-3b", 3_085_938_688, 18e12, _QWEN),
  PublishedModel("qwen2.5-7b", 7_615_616_512, 18e12, _QWEN),
  PublishedModel("qwen2.5-14b", 14_770_033_664, 18e12, _QWEN),
  PublishedModel("qwen2.5-32b", 32_763_876_352, 18e12, _QWEN),
  PublishedModel("qwen2.5-72b", 72_706_203_648, 18e12, _QWEN),
  PublishedModel("smollm2-135m", 134_515_008, 2e12, _SMOLLM2),
  PublishedModel("smollm2-360m", 361_821_120, 4e12, _SMOLLM2),
  PublishedModel("smollm2-1.7b", 1_711_376_384, 11e12, _SMOLLM2),
)
MODELS = {model.name: model for model in _TABLE}
ALIASES = {
  "gpt-3": "gpt-3-175b",
  "davinci": "gpt-3-175b",
  "gpt-3-125m": "gpt-3-small",
  "gpt-3-350m": "gpt-3-medium",
  "gpt-3-760m": "gpt-3-large",
  "gpt-3-1.3b": "gpt-3-xl",
  "gopher": "gopher-280b",
  "chinchilla": "chinchilla-70b",
  "mt-nlg": "mt-nlg-530b",
  "megatron-turing-nlg": "mt-nlg-530b",
  "jurassic-1": "jurassic-1-178b",
  "palm": "palm-540b",
  "bloom": "bloom-176b",
  "gpt-j": "gpt-j-6b",
  "gpt-neox": "gpt-neox-20b",
  "llama-30b": "llama-33b",
  "llama-1-7b": "llama-7b",
  "llama-1-13b": "llama-13b",
  "llama-1-30b": "llama-33b",
  "llama-1-33b": "llama-33b",
  "llama-1-65b": "llama-65b",
  "olmo-1-7b": "olmo-7b",
  "gemma-1-2b": "gemma-2b",
  "gemma-1-7b": "gemma-7b",
  "deepseek-7b": "deepseek-llm-7b",
  "deepseek-67b": "deepseek-llm-67b",
  "tinyllama": "tinyllama-1.1b",
}


def find_model(name: str) -> PublishedModel | None:
  """Returns a model by any spelling of its name; None where there is none.

  >>> find_model("GPT3").name, find_model("meta-llama/Meta-Llama-3-8B").name, find_model("Llama 3.1 405B").tokens
  ('gpt-3-175b', 'llama-3-8b', 15600000000000.0)
  """
  known = {name_key(model): model for model in MODELS} | {
    name_key(alias): model for alias, model in ALIASES.items()
  }
  model = known.get(name_key(name))
  return MODELS[model] if model else None


def name_key(name: str) -> str:
  """Returns a name without its owner, its maker's prefix, case, and the signs between its parts.

  >>> name_key("EleutherAI/pythia-1.4b"), name_key("Meta-Llama-3-8B")
  ('pythia1.4b', 'llama38b')
  """
  plain = name.strip().lower().rsplit("/", 1)[-1].removeprefix("meta-").removesuffix("-hf")
  return re.sub(r"[^a-z0-9.]", "", plain)


def unknown_model(name: str, others: tuple[str, ...] = ()) -> UserError:
  """Returns the error for a name that is neither here nor among the presets, with the nearest."""
  names = {name_key(known): known for known in (*others, *ALIASES, *MODELS)}
  near = difflib.get_close_matches(name_key(name), names, 1, 0.0)[0]
  return UserError(
    f"there is no model {name[:80]!r}; the nearest is {names[near]!r}, and --model=list prints all"
  )
