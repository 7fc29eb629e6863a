"""Counts N (parameters) and C (training FLOPs) of a model in each convention that a published law uses.

    from gen.scaling.runs import conventions

    conventions.count_parameters(model, "non_embedding")             # N of Kaplan et al. 2020
    conventions.count_flops(model, 2048, convention="chinchilla")    # C of a row by appendix F of Hoffmann et al. 2022

Laws can only be compared in one convention. Counting the last layer's FLOPs or not moves the exponent a of small
models by .1 (Porian et al. 2024, arXiv:2406.19146). Letters as in `gen.counts`:
D width, L depth, H heads, K head width, F feed-forward width, V vocab, T length, S source length.
"""

import difflib
from collections.abc import Iterable

from gen import counts
from gen.config import Model
from gen.errors import UserError

BACKWARD = 2.0  # FLOPs of the backward pass over those of the forward pass, as appendix F assumes

PARAMETERS = {
  "all": "every parameter, each once (a tied head is the embedding's)",
  "matrices": "what a token is multiplied with: all matrices, the head's too, without look-up tables; N of gen's laws",
  "no_embedding": "all but look-up tables; a tied head counts as a head",
  "no_head": "all but the output head; a tied table counts as the embedding",
  "non_embedding": "all but look-up tables and the output head (Kaplan et al. 2020)",
}
FLOPS = {
  "exact": "every matrix product of the step: 6 N + 12 L D T a token for a decoder, N matrices",
  "6nd": "6 N D with N matrices, the usual estimate; in an encoder-decoder each stack by its own length",
  "kaplan": "6 N + 6 L D T a token, N non-embedding (Kaplan et al. 2020, table 1): half the scores, no head",
  "chinchilla": "appendix F of Hoffmann et al. 2022, with embeddings and logits",
  "chinchilla_layers": "appendix F without embeddings and logits, of which the ratios of table A4 come",
}


def count_parameters(model: Model, convention: str = "matrices") -> int:
  """Returns N in a named convention (see `PARAMETERS`).

  Args:
    model: its config.
    convention: all, matrices, no_embedding, no_head or non_embedding.

  Raises:
    UserError: for an unknown convention, with the nearest one.

  >>> from gen import presets
  >>> count_parameters(presets.get_model("gpt2"), "all"), count_parameters(presets.get_model("gpt2"), "non_embedding")
  (124439808, 85056000)
  """
  _check(convention, PARAMETERS, "parameters")
  if convention == "matrices":
    return counts.count_matrices(model)
  groups = counts.count_parameters(model)
  table = model.vocab * model.width
  counted = {
    "all": groups.total,
    "no_embedding": groups.total - groups.embedding + (table if model.tied else 0),
    "no_head": groups.total - groups.head,
    "non_embedding": groups.total - groups.embedding - groups.head,
  }
  return counted[convention]


def count_flops(model: Model, length: int, source_length: int = 0, convention: str = "exact") -> float:
  """Returns the training FLOPs of one row in a named convention (see `FLOPS`).

  Args:
    model: its config.
    length: positions of the row, of the target's in an encoder-decoder.
    source_length: positions of the source; an encoder-decoder has one, others none.
    convention: exact, 6nd, kaplan, chinchilla or chinchilla_layers.

  Raises:
    UserError: for an unknown convention, with the nearest one, and for lengths that the family does not have.
  """
  _check(convention, FLOPS, "FLOPs")
  _check_lengths(model, length, source_length)
  if convention == "exact":
    return counts.count_flops(model, length, source_length).total
  if counts.own_modules(model) and convention != "6nd":
    raise UserError(
      f"the convention {convention} of FLOPs has no formula for model.{counts.own_modules(model)[0]} of your own; take "
      "exact or 6nd"
    )
  if convention == "6nd":
    return 6.0 * _weighted(model, length, source_length, head=True)
  if convention == "kaplan":
    return 6.0 * _weighted(model, length, source_length, head=False) + _half_scores(
      model, length, source_length
    )
  forward = sum(
    layers * _layer(shape, reads, cross)
    for shape, layers, reads, cross in _stacks(model, length, source_length)
  )
  if model.recurrent:
    forward = 2.0 * length * counts.count_matrices(model) - 2.0 * length * model.vocab * model.width
  if convention == "chinchilla":
    look_up = 2.0 * (length + source_length) * model.vocab * model.width
    # Appendix F counts the embedding as a product with one-hot rows.
    forward += look_up + 2.0 * length * model.width * model.vocab
  return (1 + BACKWARD) * forward


def flops_per_token(model: Model, length: int, source_length: int = 0, convention: str = "exact") -> float:
  """Returns the training FLOPs per target position in a named convention."""
  return count_flops(model, length, source_length, convention) / length


def six_nd(params: float, tokens: float, share: float = 1.0) -> float:
  """Returns 6 N D training FLOPs: 2 N D forward, 4 N D backward.

  Args:
    params: N.
    tokens: D.
    share: of the parameters that each token meets; one half in T5, whose encoder or decoder it passes through
      (Brown et al. 2020, arXiv:2005.14165, table D.1).

  >>> f"{six_nd(70e9, 1.4e12):.3g}"
  '5.88e+23'
  """
  return 6.0 * share * float(params) * float(tokens)


def _check(name: str, known: Iterable[str], what: str) -> None:
  if name not in known:
    nearest = difflib.get_close_matches(name, list(known), 1, 0.0)[0]
    raise UserError(
      f"there is no convention {name!r} of {what}; there are {', '.join(known)}; the nearest is {nearest!r}"
    )


def _check_lengths(model: Model, length: int, source_length: int) -> None:
  if length < 1 or source_length < 0:
    raise UserError(f"a row of {length} positions and {source_length} of a source cannot be counted")
  two = model.family == "encoder_decoder"
  if two != (source_length > 0):
    has = "has a source: give its length" if two else "reads no source: leave its length out"
    raise UserError(f"a model of the family {model.family} {has}")


def _stacks(model: Model, length: int, source_length: int) -> list[tuple[Model, int, int, int]]:
  """Returns (shape, layers, own length, length of the source that it looks at, 0 for none) of each stack."""
  return [
    (stack.shape, stack.depth, reads, source_length if stack.cross else 0)
    for stack, reads in zip(counts.block_stacks(model), (length, source_length), strict=False)
  ]


def _layer(shape: Model, reads: int, cross: int) -> float:
  """Returns the forward FLOPs of one block, by the lines of appendix F; cross attention is counted likewise."""
  inner, keys = shape.attention_width, shape.key_value_width
  projected = 2.0 * reads * shape.width * (inner + 2 * keys)
  pairs = reads * reads
  if cross:
    projected += 2.0 * shape.width * (reads * inner + 2 * cross * keys)
    pairs += reads * cross
  scores = (2.0 * inner + 3.0 * shape.n_heads + 2.0 * inner) * pairs  # logits, softmax, reduction
  # Cross attention has an output projection of its own.
  output = 2.0 * reads * inner * shape.width * (2 if cross else 1)
  dense = 2.0 * reads * shape.width * shape.feed_forward_width * (3 if shape.gated else 2)
  return projected + scores + output + dense


def _weighted(model: Model, length: int, source_length: int, *, head: bool) -> float:
  """Returns the sum over positions of the weights that each is multiplied with."""
  if model.recurrent or counts.own_modules(model):
    layers = float(length * (counts.count_matrices(model) - model.width * model.vocab))
  else:
    scores = counts.count_flops(model, length, source_length)
    # Six FLOPs a weight and position; scores are no product with weights.
    layers = (scores.attention + scores.feed_forward) / 6
  extra = length * model.width * model.width * model.head_transform
  return layers + (length * model.width * model.vocab + extra if head else 0.0)


def _half_scores(model: Model, length: int, source_length: int) -> float:
  """Returns 6 T^2 times the attention's width in each layer: 2 T^2 forward, where the causal half counts."""
  return sum(
    6.0 * layers * shape.attention_width * reads * (reads + cross)
    for shape, layers, reads, cross in _stacks(model, length, source_length)
  )
