"""The content of a config.json of the Hugging Face format: plain values of others, read by type."""

from collections.abc import Mapping

from gen.io import json_reading


class HfConfig(dict[str, object]):
  """A config.json, completed by its architecture's defaults.

  >>> HfConfig({"n_head": 12}).integer("n_head")
  12
  """

  def integer(self, key: str) -> int:
    """Returns a whole number.

    Raises:
      UserError: for a value of another type, as all of these.
    """
    value: int = json_reading.require_field(self, key, int, "config.json")
    return value

  def optional_integer(self, key: str) -> int | None:
    """Returns a whole number, or None for null."""
    return None if self.get(key) is None else self.integer(key)

  def number(self, key: str) -> float:
    """Returns a number."""
    value: float = json_reading.require_field(self, key, float, "config.json")
    return value

  def flag(self, key: str) -> bool:
    """Returns true or false."""
    value: bool = json_reading.require_field(self, key, bool, "config.json")
    return value

  def text(self, key: str) -> str:
    """Returns a text."""
    value: str = json_reading.require_field(self, key, str, "config.json")
    return value

  def replaced(self, values: Mapping[str, object]) -> "HfConfig":
    """Returns the config with other values of some fields."""
    return HfConfig(self | dict(values))
