"""The corpora of a mixture: names, weights and limits, in Python or as one line of text.

manual=0.7, law=0.3                        shares of the rows
manual=0.7, law=0.3 max 4 epochs           law is read at most four times
manual, law                                with a temperature: shares follow from the sizes
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gen.errors import UserError
from gen.io import quantities

if TYPE_CHECKING:
  from gen.config.data import Data

UNITS = ("share", "tokens")
EXAMPLE = "manual=0.7,law=0.3"
_LIMIT = re.compile(r"(.*\S)\s+max\s+(\S+)(?:\s+epochs?)?")
_WEIGHT = re.compile(r"(.*[^=])=([^=]*)", re.DOTALL)  # the == of a version is no sign of a weight
_SETTINGS = ("mixture_temperature", "mixture_schedule")


@dataclasses.dataclass(frozen=True)
class MixtureCorpus:
  """One corpus of a mixture.

  Attributes:
    name: in journals and reports.
    corpus: its text, as data.corpus names it; empty: the name itself.
    weight: its share of the rows, relative to the other weights, or its training tokens; 0: it is only evaluated. None:
      by the temperature.
    max_epochs: how often the run may read it; 0: no limit.
  """

  name: str
  corpus: str = ""
  weight: float | None = None
  max_epochs: float = 0.0

  @property
  def source(self) -> str:
    """Its text, as data.corpus names it."""
    return self.corpus or self.name


def read_mixture(value: Any) -> tuple[MixtureCorpus, ...]:
  """Returns the corpora of a mixture from any of its forms.

  Args:
    value: a line of text, {name: weight}, or corpora, each as `MixtureCorpus` or as a tuple of its fields.

  Raises:
    UserError: for anything else.

  >>> read_mixture("manual=0.7, law=0.3 max 4 epochs")[1]
  MixtureCorpus(name='law', corpus='', weight=0.3, max_epochs=4.0)
  """
  if isinstance(value, str):
    return tuple(_read_item(item.strip(), value) for item in value.split(",")) if value.strip() else ()
  if isinstance(value, Mapping):
    return tuple(MixtureCorpus(name, weight=weight) for name, weight in value.items())
  if not isinstance(value, Iterable):
    raise UserError(f"data.mixture is {value!r}; write it as {EXAMPLE!r}, or as a tuple of MixtureCorpus")
  return tuple(_read_corpus(item) for item in value)


def _read_corpus(item: Any) -> MixtureCorpus:
  if isinstance(item, MixtureCorpus):
    return item
  try:
    return MixtureCorpus(**item) if isinstance(item, Mapping) else MixtureCorpus(*item)
  except TypeError:
    raise UserError(
      f"data.mixture holds {item!r}, which is no corpus; write it as {EXAMPLE!r}, or as MixtureCorpus(name, corpus,"
      " weight, max_epochs)"
    ) from None


def _read_item(item: str, mixture: str) -> MixtureCorpus:
  limited = _LIMIT.fullmatch(item)
  head = limited[1] if limited else item
  weighted = _WEIGHT.fullmatch(head)
  name = (weighted[1] if weighted else head).strip()
  if not name or name.startswith("="):
    raise UserError(f"data.mixture {mixture!r} has a corpus without a name; write it as {EXAMPLE!r}")
  max_epochs = _read_number(limited[2], f"the most epochs of {name}") if limited else 0.0
  if limited and not max_epochs:  # 0 would be no limit
    raise UserError(
      f"data.mixture: the most epochs of {name} is 0; write {name}=0 to evaluate it alone, or leave max out"
    )
  return MixtureCorpus(
    name,
    weight=_read_number(weighted[2], f"the weight of {name}") if weighted else None,
    max_epochs=max_epochs,
  )


def _read_number(text: str, what: str) -> float:
  try:
    return quantities.parse_number(text)
  except ValueError as error:
    raise UserError(f"data.mixture: {what} is {text.strip()!r}: {error}") from None


def check_mixture(data: "Data") -> None:
  """Checks the fields of a mixture, each by itself and with the others.

  Raises:
    UserError: with one sentence, at the first mistake.
  """
  if not data.mixture:
    for name in _SETTINGS:
      if getattr(data, name):
        raise UserError(
          f"data.{name} is {getattr(data, name)}, but data.mixture is empty; set it, as in {EXAMPLE}"
        )
    return
  _check_names(data.mixture)
  if data.stream:
    raise UserError("data.stream reads one text in order; leave it, or data.mixture, out")
  if data.mixture_unit not in UNITS:
    raise UserError(f"data.mixture_unit is {data.mixture_unit!r}; it must be one of {', '.join(UNITS)}")
  _check_weights(data)
  _check_schedule(data)


def _check_names(corpora: Sequence[MixtureCorpus]) -> None:
  for field in ("name", "source"):
    values = [getattr(corpus, field) for corpus in corpora]
    for value in values:
      if not isinstance(value, str) or not value.strip():
        raise UserError(f"data.mixture has a corpus without a name; write it as {EXAMPLE!r}")
      if values.count(value) > 1:
        raise UserError(f"data.mixture names {value!r} twice; give each corpus once, with one weight")


def _check_weights(data: "Data") -> None:
  corpora, temperature = data.mixture, data.mixture_temperature
  for corpus in corpora:
    _check_number(corpus.max_epochs, f"data.mixture: the most epochs of {corpus.name}")
  given = [corpus for corpus in corpora if corpus.weight is not None]
  if temperature:
    if given:
      raise UserError(
        f"data.mixture_temperature {temperature:g} sets weights by size, but data.mixture gives {given[0].name} one;"
        " leave one of them out"
      )
    if data.mixture_unit != "share":
      raise UserError("data.mixture_temperature sets shares; leave data.mixture_unit at share")
    return
  for corpus in corpora:
    if corpus.weight is None:
      raise UserError(
        f"data.mixture gives {corpus.name} no weight; write {corpus.name}=0.5, or set data.mixture_temperature for"
        " weights by size"
      )
    _check_number(corpus.weight, f"data.mixture: the weight of {corpus.name}")
  if not any(corpus.weight for corpus in corpora):
    raise UserError("data.mixture: all weights are 0; give at least one corpus more than 0")


def _check_number(value: Any, what: str) -> None:
  if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
    raise UserError(f"{what} is {value}; it must be a finite number of 0 or more")


def _check_schedule(data: "Data") -> None:
  if data.mixture_schedule and data.mixture_unit == "tokens":
    raise UserError(
      "data.mixture_schedule changes shares, but data.mixture_unit is tokens, which hold for the whole run; leave one"
      " out"
    )
  before, names = 0.0, ", ".join(corpus.name for corpus in data.mixture)
  for row in data.mixture_schedule:
    if len(row) != len(data.mixture) + 1:
      raise UserError(
        f"data.mixture_schedule holds {row}; an entry has the fraction of the run from which its weights hold, then"
        f" one weight for each of {names}"
      )
    for value in row:
      _check_number(value, f"data.mixture_schedule: an entry of {row}")
    if not before < row[0] < 1:
      raise UserError(
        f"data.mixture_schedule begins its weights at {row[0]:g} of the run; fractions must ascend and lie between 0"
        " and 1"
      )
    if not any(row[1:]):
      raise UserError(f"data.mixture_schedule: from {row[0]:g} of the run on, all weights are 0")
    before = row[0]


def normalization_line(data: "Data") -> str:
  """Returns a sentence if the weights are no shares, which sum to 1; else an empty text."""
  total = sum(corpus.weight or 0.0 for corpus in data.mixture)
  if not total or data.mixture_unit != "share" or math.isclose(total, 1, rel_tol=1e-9):
    return ""
  shares = ", ".join(f"{corpus.name} {(corpus.weight or 0) / total:.4g}" for corpus in data.mixture)
  return f"the weights of data.mixture sum to {total:.6g}; divided by that they are {shares}"


def with_weights(data: "Data", weights: Sequence[float]) -> "Data":
  """Returns the data with other weights of its mixture, in the order of its corpora."""
  corpora = tuple(
    dataclasses.replace(corpus, weight=float(weight))
    for corpus, weight in zip(data.mixture, weights, strict=True)
  )
  return dataclasses.replace(data, mixture=corpora)


def same_text(data: "Data") -> "Data":
  """Returns the data without what does not change which text is loaded: weights, limits, batch."""
  corpora = tuple(MixtureCorpus(corpus.name, corpus.corpus, weight=1.0) for corpus in data.mixture)
  return dataclasses.replace(
    data,
    mixture=corpora,
    mixture_temperature=0.0,
    mixture_schedule=(),
    mixture_unit="share",
    unique_tokens=0,
    batch=0,
  )


def mixture_text(corpora: Sequence[MixtureCorpus]) -> str:
  """Returns a mixture as a line of text, as the command line takes it.

  >>> mixture_text(read_mixture({"manual": 0.7, "law": 0.3}))
  'manual=0.7,law=0.3'
  """
  words = []
  for corpus in corpora:
    weight = "" if corpus.weight is None else f"={corpus.weight:g}"
    limit = f" max {corpus.max_epochs:g} epochs" if corpus.max_epochs else ""
    words.append(f"{corpus.name}{weight}{limit}")
  return ",".join(words)
