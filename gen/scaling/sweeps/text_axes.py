"""The axes of a sweep that change what text its runs read: weights of a mixture, and limits of unique tokens."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from gen.config import Data, Sweep, mixture
from gen.errors import UserError


class TextVariant(NamedTuple):
  """The text of some runs of a sweep.

  Attributes:
    name: part of the names of these runs, as "-m0.7_0.3-u1e6"; empty if the sweep has neither axis.
    data: of these runs.
  """

  name: str
  data: Data


def text_variants(sweep: Sweep) -> list[TextVariant]:
  """Returns the texts that a sweep trains on: each of its mixtures with each of its limits.

  >>> [variant.name for variant in text_variants(Sweep(unique_tokens=(10**6, 2 * 10**6)))]
  ['-u1000000', '-u2000000']

  Raises:
    UserError: for weights that the mixture cannot have, or a value that occurs twice.
  """
  _check_mixtures(sweep)
  if len(set(sweep.unique_tokens)) != len(sweep.unique_tokens):
    raise UserError(f"config.unique_tokens holds {sweep.unique_tokens}, with one limit twice")
  variants = []
  for weights, limit in itertools.product(sweep.mixtures or (None,), sweep.unique_tokens or (None,)):
    data = sweep.data if weights is None else mixture.with_weights(sweep.data, weights)
    mixed = "" if weights is None else f"-m{name_weights(weights)}"
    limited = "" if limit is None else f"-u{limit}"
    variants.append(TextVariant(mixed + limited, _limited(data, limit)))
  return variants


def name_weights(weights: Sequence[float]) -> str:
  """Returns weights as the names of runs hold them.

  >>> name_weights((0.7, 0.3))
  '0.7_0.3'
  """
  return "_".join(f"{weight:g}" for weight in weights)


def _limited(data: Data, limit: int | None) -> Data:
  if limit is None:
    return data
  return dataclasses.replace(data, unique_tokens=limit)


def _check_mixtures(sweep: Sweep) -> None:
  if not sweep.mixtures:
    return
  names = [corpus.name for corpus in sweep.data.mixture]
  if not names:
    raise UserError("config.mixtures holds weights of data.mixture, which is empty; set it too")
  if sweep.data.mixture_temperature or sweep.data.mixture_unit != "share":
    raise UserError(
      "config.mixtures holds shares of the corpora; leave data.mixture_temperature and data.mixture_unit out"
    )
  for weights in sweep.mixtures:
    if len(weights) != len(names):
      raise UserError(
        f"config.mixtures holds {weights}, {len(weights)} weights for the {len(names)} corpora of data.mixture"
        f" ({', '.join(names)})"
      )
  written = list(map(name_weights, sweep.mixtures))
  repeated = [text for text in written if written.count(text) > 1]
  if repeated:
    raise UserError(f"config.mixtures holds the weights {repeated[0]} twice")
