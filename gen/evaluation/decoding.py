"""The effect of sampling settings: the next token's distribution, repetition, and diversity.

Greedy text of a language model falls into loops, and sampling avoids them at the price of unlikely tokens
(arXiv:1904.09751). V vocab, B rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen.errors import UserError
from gen.generation import text
from gen.generation.decoding import decode, decoders, decoding_batch
from gen.generation.decoding.sampling import GREEDY, Sampler
from gen.generation.loaded_model import LoadedModel

# One setting of each kind beside the model's own. Chosen: each clearly on its side of the usual (temperature 0.7 to 1,
# top-k 40, top-p 0.9 to 0.95), so that its effect shows with a small model. CTRL's penalty is about 1.2
# (arXiv:1909.05858, section 4.1).
SETTINGS: dict[str, Sampler] = {
  "the model's own": Sampler(),
  "greedy": GREEDY,
  "temperature 0.5": Sampler(temperature=0.5),
  "temperature 1.5": Sampler(temperature=1.5),
  "top-k 5": Sampler(top_k=5),
  "top-p 0.8": Sampler(top_p=0.8),
  "min-p 0.1": Sampler(min_p=0.1),
  "penalty 1.3": Sampler(repetition_penalty=1.3),
}


class NextToken(NamedTuple):
  """The next token's distribution under a setting.

  Attributes:
    setting: its name.
    probabilities: of the requested tokens.
    entropy: of the complete distribution, nats.
    kept: number of tokens with a probability above 0.
  """

  setting: str
  probabilities: list[float]
  entropy: float
  kept: int


def next_logits(restored: LoadedModel, prompt: str) -> np.ndarray:
  """Returns the logits after a prompt, [V]."""
  how, model = restored.reading, restored.model
  ids = text.prompt_ids(restored, prompt)
  limits = decoding_batch.DecodeLimits(max_tokens=1)
  arranged = decoding_batch.DecodingBatch(model, [ids], None, limits, how.start, None, how.prefix).arranged()
  decoder = decoders.make_decoder(model, how.prefix)
  logits_bv, _ = decoder.prefill(restored.params, arranged, arranged.tokens_bt.shape[1] + 1)
  return np.asarray(logits_bv[0], np.float32)


def next_tokens(
  restored: LoadedModel, prompt: str, settings: Mapping[str, Sampler], count: int = 12
) -> tuple[list[str], list[NextToken]]:
  """Returns the likeliest tokens after a prompt, and their probabilities under each setting.

  Args:
    restored: a generative model.
    prompt: text to continue.
    settings: samplers by name.
    count: number of tokens.

  Raises:
    UserError: for an invalid setting.
  """
  logits_v, size = next_logits(restored, prompt), restored.model.vocab
  seen_bv = jnp.zeros((1, size), bool).at[0, text.prompt_ids(restored, prompt)].set(True)
  # By the unfiltered logits, so that all settings are compared on the same tokens.
  top = np.argsort(-logits_v, kind="stable")[: min(count, size)]
  tokens = []
  for name, sampler in settings.items():
    sampler.check(size)
    chances_v = np.asarray(jax.nn.softmax(sampler(jnp.asarray(logits_v)[None], seen_bv)[0]), np.float64)
    tokens.append(
      NextToken(name, chances_v[top].tolist(), token_entropy(chances_v), int((chances_v > 0).sum()))
    )
  return [_shown(restored, int(number)) for number in top], tokens


def _shown(restored: LoadedModel, number: int) -> str:
  tokenizer = restored.tokenizer
  return tokenizer.name(number) if number < tokenizer.vocab else f"id {number}"


def token_entropy(chances_v: np.ndarray) -> float:
  """Returns the entropy of a distribution in nats.

  >>> round(token_entropy(np.array([0.5, 0.5, 0.0])), 4)
  0.6931
  """
  positive_v = chances_v[chances_v > 0]
  return float(-(positive_v * np.log(positive_v)).sum()) + 0.0  # turns -0 of a certain outcome into 0


def repetition_rate(tokens: Sequence[int], n: int = 4) -> float:
  """Returns the fraction of a text's n-grams that occurred before in it.

  >>> repetition_rate([1, 2, 3, 1, 2, 3], n=2), repetition_rate([1, 2], n=4)
  (0.4, 0.0)
  """
  runs = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
  return 1 - len(set(runs)) / len(runs) if runs else 0.0


def distinct_ngrams(texts: Sequence[Sequence[int]], n: int = 2) -> float:
  """Returns the fraction of distinct n-grams among all n-grams of texts (arXiv:1510.03055).

  >>> distinct_ngrams([[1, 2, 3], [1, 2, 4]])
  0.75
  """
  runs = [tuple(tokens[i : i + n]) for tokens in texts for i in range(len(tokens) - n + 1)]
  return len(set(runs)) / len(runs) if runs else 0.0


class SampledTexts(NamedTuple):
  """Statistics of texts under a setting.

  Attributes:
    setting: its name.
    repetition: mean over the texts.
    repetition_error: its standard error.
    diversity: of the texts of one prompt, mean over the prompts.
    nats: per token in the unfiltered distribution, mean over all tokens.
    example: the first text.
  """

  setting: str
  repetition: float
  repetition_error: float
  diversity: float
  nats: float
  example: str


def sample_texts(
  restored: LoadedModel,
  prompts: Sequence[str],
  name: str,
  sampler: Sampler,
  *,
  samples: int,
  tokens: int,
  seed: int,
) -> SampledTexts:
  """Returns statistics of texts under a setting; all texts have the full length.

  Args:
    restored: a generative model.
    prompts: texts to continue.
    name: of the setting.
    sampler: the setting.
    samples: texts of each prompt.
    tokens: of each text.
    seed: of the draws.

  Raises:
    UserError: for no prompts, or invalid settings.
  """
  if not prompts:
    raise UserError("there is no prompt; give at least one")
  how = restored.reading
  ids = [text.prompt_ids(restored, prompt) for prompt in prompts for _ in range(samples)]
  # No stop token: texts of equal length, or a setting that ends early would seem less repetitive.
  options: dict[str, Any] = {
    "start": how.start,
    "prefix": how.prefix,
    "max_tokens": tokens,
    "window": "slide",
  }
  generated = decode.generate(restored.module, restored.params, ids, sampler, jax.random.key(seed), **options)
  texts = [row.tolist() for row in generated.rows()]
  repeats = np.array([repetition_rate(row) for row in texts])
  error = float(repeats.std(ddof=1) / np.sqrt(len(repeats))) if len(repeats) > 1 else float("nan")
  groups = [texts[begin : begin + samples] for begin in range(0, len(texts), samples)]
  return SampledTexts(
    name,
    float(repeats.mean()),
    error,
    float(np.mean([distinct_ngrams(group) for group in groups])),
    float(-generated.log_probabilities_bn.sum() / generated.lengths_b.sum()),
    text.detokenize(restored, generated.rows()[0]),
  )
