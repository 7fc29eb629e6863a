"""The unit of a corpus."""

from typing import NamedTuple


class Document(NamedTuple):
  """One text, which is never split between training and validation.

  Attributes:
    name: its file, or its position in a file or set; the split into training and validation depends on it.
    text: its content, encodable in UTF-8.
  """

  name: str
  text: str
