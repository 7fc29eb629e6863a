"""Config fields in which an object of the user's own code can stand: it is kept as its reference."""

from typing import Any, ClassVar

from gen.io import user_code

CORPUS = "python:"  # of data.corpus, before the reference of a function that yields documents


class HoldsReferences:
  """A config some of whose fields name user code, as `package.module:name` or `path/to/file.py:name`.

  In Python the function or class itself can be given. It is replaced by its reference, which other processes import.

  Attributes:
    own_code: paths of these fields, as the command line writes them.
  """

  own_code: ClassVar[tuple[str, ...]] = ()

  def __setattr__(self, name: str, value: Any) -> None:
    """Sets a field."""
    path = next((path for path in self.own_code if path.rpartition(".")[2] == name), None)
    object.__setattr__(self, name, value if path is None else _referenced(value, path))


def _referenced(value: Any, path: str) -> Any:
  if isinstance(value, (tuple, list)):
    return tuple(_referenced(item, path) for item in value)
  if not callable(value):
    return value
  return (CORPUS if path == "data.corpus" else "") + user_code.reference_to(value, path)
