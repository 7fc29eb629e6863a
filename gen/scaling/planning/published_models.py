"""Published models as data: their parameters, training tokens and source.

`find_model("llama-3-8b")` finds a model by any spelling of its name. N counts all parameters and D tokens processed.
All are dense decoders; the laws do not cover mixtures of experts and encoders.

Sources are named with each model. Only PaLM-540B, Falcon-40B and SmolLM2 were compared with theirs so far; check a
figure against its source before you cite it.
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
    source: paper or page.
  """

  name: str
  params: float
  tokens: float | None
  source: str


_GPT3 = "Brown et al. 2020, arXiv:2005.14165, table D.1"
_PYTHIA = "Biderman et al. 2023, arXiv:2304.01373, 143,000 steps of 2,097,152 tokens"
_CEREBRAS = "Dey et al. 2023, arXiv:2304.03208, table 1"
_PALM = "Chowdhery et al. 2022, arXiv:2204.02311"
_LLAMA = "Touvron et al. 2023, arXiv:2302.13971, table 2"
_LLAMA2 = "Touvron et al. 2023, arXiv:2307.09288, table 1"
_LLAMA3 = "Grattafiori et al. 2024, arXiv:2407.21783, and the model cards (over 15 T tokens)"
_FALCON = "Almazrouei et al. 2023, arXiv:2311.16867"
_GEMMA = "Gemma Team 2024, arXiv:2403.08295"
_GEMMA2 = "Gemma Team 2024, arXiv:2408.00118"
_QWEN = "Qwen Team 2024, arXiv:2412.15115 (18 T tokens for the family)"
_DEEPSEEK = "DeepSeek-AI 2024, arXiv:2401.02954"
_SMOLLM2 = "Allal et al. 2025, arXiv:2502.02737"

_TABLE: tuple[tuple[str, float, float | None, str], ...] = (
  ("gpt-3-small", 125e6, 300e9, _GPT3),
  ("gpt-3-medium", 356e6, 300e9, _GPT3),
  ("gpt-3-large", 760e6, 300e9, _GPT3),
  ("gpt-3-xl", 1.32e9, 300e9, _GPT3),
  ("gpt-3-2.7b", 2.65e9, 300e9, _GPT3),
  ("gpt-3-6.7b", 6.66e9, 300e9, _GPT3),
  ("gpt-3-13b", 12.85e9, 300e9, _GPT3),
  ("gpt-3-175b", 174.6e9, 300e9, _GPT3),
  ("gopher-280b", 280e9, 300e9, "Rae et al. 2021, arXiv:2112.11446"),
  ("chinchilla-70b", 70e9, 1.4e12, "Hoffmann et al. 2022, arXiv:2203.15556, table 4"),
  ("mt-nlg-530b", 530e9, 270e9, "Smith et al. 2022, arXiv:2201.11990"),
  ("jurassic-1-178b", 178e9, 300e9, "Lieber et al. 2021, by table 1 of arXiv:2203.15556"),
  ("palm-8b", 8.63e9, 780e9, _PALM),
  ("palm-62b", 62.5e9, 795e9, _PALM),
  ("palm-540b", 540.35e9, 780e9, _PALM),
  ("bloom-176b", 176.2e9, 366e9, "BigScience 2022, arXiv:2211.05100"),
  ("gpt-j-6b", 6.05e9, 402e9, "Wang and Komatsuzaki 2021, the model card of GPT-J-6B"),
  ("gpt-neox-20b", 20.55e9, 472e9, "Black et al. 2022, arXiv:2204.06745, 150,000 steps of 3.15 M tokens"),
  ("pythia-70m", 70_426_624, 299_892_736_000, _PYTHIA),
  ("pythia-160m", 162_322_944, 299_892_736_000, _PYTHIA),
  ("pythia-410m", 405_334_016, 299_892_736_000, _PYTHIA),
  ("pythia-1b", 1_011_781_632, 299_892_736_000, _PYTHIA),
  ("pythia-1.4b", 1_414_647_808, 299_892_736_000, _PYTHIA),
  ("pythia-2.8b", 2_775_208_960, 299_892_736_000, _PYTHIA),
  ("pythia-6.9b", 6_857_302_016, 299_892_736_000, _PYTHIA),
  ("pythia-12b", 11_846_072_320, 299_892_736_000, _PYTHIA),
  ("cerebras-gpt-111m", 111e6, 2.2e9, _CEREBRAS),
  ("cerebras-gpt-256m", 256e6, 5.1e9, _CEREBRAS),
  ("cerebras-gpt-590m", 590e6, 11.8e9, _CEREBRAS),
  ("cerebras-gpt-1.3b", 1.3e9, 26.3e9, _CEREBRAS),
  ("cerebras-gpt-2.7b", 2.7e9, 53e9, _CEREBRAS),
  ("cerebras-gpt-6.7b", 6.7e9, 133e9, _CEREBRAS),
  ("cerebras-gpt-13b", 13e9, 257e9, _CEREBRAS),
  ("llama-7b", 6.7e9, 1e12, _LLAMA),
  ("llama-13b", 13e9, 1e12, _LLAMA),
  ("llama-33b", 32.5e9, 1.4e12, _LLAMA),
  ("llama-65b", 65.2e9, 1.4e12, _LLAMA),
  ("llama-2-7b", 6.74e9, 2e12, _LLAMA2),
  ("llama-2-13b", 13.0e9, 2e12, _LLAMA2),
  ("llama-2-70b", 69.0e9, 2e12, _LLAMA2),
  ("llama-3-8b", 8.03e9, 15e12, _LLAMA3),
  ("llama-3-70b", 70.6e9, 15e12, _LLAMA3),
  ("llama-3.1-8b", 8.03e9, 15e12, _LLAMA3),
  ("llama-3.1-70b", 70.6e9, 15e12, _LLAMA3),
  ("llama-3.1-405b", 405e9, 15.6e12, _LLAMA3),
  ("mistral-7b", 7.24e9, None, "Jiang et al. 2023, arXiv:2310.06825; its tokens are not published"),
  ("tinyllama-1.1b", 1.1e9, 3e12, "Zhang et al. 2024, arXiv:2401.02385"),
  ("mpt-7b", 6.7e9, 1e12, "MosaicML 2023, the page that introduces MPT-7B"),
  ("falcon-7b", 7.2e9, 1.5e12, _FALCON),
  ("falcon-40b", 41.8e9, 1e12, _FALCON),
  ("falcon-180b", 180e9, 3.5e12, _FALCON),
  ("olmo-7b", 6.89e9, 2.46e12, "Groeneveld et al. 2024, arXiv:2402.00838"),
  ("deepseek-llm-7b", 6.9e9, 2e12, _DEEPSEEK),
  ("deepseek-llm-67b", 67.4e9, 2e12, _DEEPSEEK),
  ("gemma-2b", 2.51e9, 3e12, _GEMMA),
  ("gemma-7b", 8.54e9, 6e12, _GEMMA),
  ("gemma-2-2b", 2.6e9, 2e12, _GEMMA2),
  ("gemma-2-9b", 9.24e9, 8e12, _GEMMA2),
  ("gemma-2-27b", 27.2e9, 13e12, _GEMMA2),
  ("qwen2.5-0.5b", 0.49e9, 18e12, _QWEN),
  ("qwen2.5-1.5b", 1.54e9, 18e12, _QWEN),
  ("qwen2.5-3b", 3.09e9, 18e12, _QWEN),
  ("qwen2.5-7b", 7.61e9, 18e12, _QWEN),
  ("qwen2.5-14b", 14.7e9, 18e12, _QWEN),
  ("qwen2.5-32b", 32.5e9, 18e12, _QWEN),
  ("qwen2.5-72b", 72.7e9, 18e12, _QWEN),
  ("smollm2-135m", 135e6, 2e12, _SMOLLM2),
  ("smollm2-360m", 362e6, 4e12, _SMOLLM2),
  ("smollm2-1.7b", 1.71e9, 11e12, _SMOLLM2),
)
MODELS = {row[0]: PublishedModel(*row) for row in _TABLE}
ALIASES = {
  "gpt-3": "gpt-3-175b",
  "davinci": "gpt-3-175b",
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
  known = {name_key(one): one for one in MODELS} | {name_key(other): one for other, one in ALIASES.items()}
  one = known.get(name_key(name))
  return MODELS[one] if one else None


def name_key(name: str) -> str:
  """Returns a name without its owner, its maker's prefix, case, and the signs between its parts.

  >>> name_key("EleutherAI/pythia-1.4b"), name_key("Meta-Llama-3-8B")
  ('pythia1.4b', 'llama38b')
  """
  plain = name.strip().lower().rsplit("/", 1)[-1].removeprefix("meta-").removesuffix("-hf")
  return re.sub(r"[^a-z0-9.]", "", plain)


def unknown_model(name: str, others: tuple[str, ...] = ()) -> UserError:
  """Returns the error for a name that is neither here nor among the presets, with the nearest."""
  names = {name_key(one): one for one in (*others, *ALIASES, *MODELS)}
  near = difflib.get_close_matches(name_key(name), names, 1, 0.0)[0]
  return UserError(
    f"there is no model {name[:80]!r}; the nearest is {names[near]!r}, and --model=list prints all"
  )
