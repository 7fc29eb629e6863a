"""Sections of a results.json that may be of another version or damaged: what is absent or foreign reads as nothing."""

import math
import numbers
from collections.abc import Iterator, Mapping


class Section(Mapping[str, object]):
  """An object of a results.json, with readers that check what it holds.

  >>> study = Section({"laws": {"isoflop": {"a": 0.5, "b": "half"}}, "points": [{"N": 8}, 3]})
  >>> law = study.section("laws").section("isoflop")
  >>> law.number("a"), law.number("b"), study.section("verdict").number("a"), len(study.sections("points"))
  (0.5, None, None, 1)
  """

  def __init__(self, values: object = None) -> None:
    """Takes an object as JSON held it; anything else is an empty section."""
    self._values: Mapping[str, object] = values if isinstance(values, Mapping) else {}

  def __getitem__(self, name: str) -> object:
    """Returns a value as JSON held it."""
    return self._values[name]

  def __iter__(self) -> Iterator[str]:
    """Iterates over the names."""
    return iter(self._values)

  def __len__(self) -> int:
    """Returns the number of values."""
    return len(self._values)

  def section(self, name: str) -> "Section":
    """Returns a nested object, empty if it is absent or no object."""
    return Section(self.get(name))

  def sections(self, name: str) -> list["Section"]:
    """Returns the objects in a nested list, empty if it is absent."""
    return [Section(item) for item in self._list(name) if isinstance(item, Mapping)]

  def texts(self, name: str) -> list[str]:
    """Returns the texts in a nested list, empty if it is absent."""
    return [item for item in self._list(name) if isinstance(item, str)]

  def number(self, name: str) -> float | None:
    """Returns a finite number, or None for anything else."""
    return finite_number(self.get(name))

  def number_or_nan(self, name: str) -> float:
    """Returns a finite number, or NaN for anything else."""
    value = self.number(name)
    return math.nan if value is None else value

  def interval(self, name: str) -> tuple[float, float] | None:
    """Returns [low, high] if it is two finite numbers."""
    value = self.get(name)
    if not isinstance(value, list | tuple) or len(value) != 2:
      return None
    low, high = finite_number(value[0]), finite_number(value[1])
    return None if low is None or high is None else (low, high)

  def first_reason(self, otherwise: str) -> str:
    """Returns what a failed part says of itself."""
    error = self.get("error")
    reasons = [str(error)] if error else self.texts("warnings")
    return reasons[0] if reasons else otherwise

  def _list(self, name: str) -> list[object]:
    items = self.get(name)
    return list(items) if isinstance(items, list | tuple) else []


def finite_number(value: object) -> float | None:
  """Returns a finite number, or None for anything else."""
  if isinstance(value, bool) or not isinstance(value, numbers.Real):
    return None
  return float(value) if math.isfinite(value) else None
