"""The unit of a corpus."""

from typing import NamedTuple


class Document(NamedTuple):
  """One piece of text that stays together.

  Attributes:
    name: its file, or its place in a file or set; training and validation are parted by it.
    text: what it says; UTF-8 can hold it.
  """

  name: str
  text: str
