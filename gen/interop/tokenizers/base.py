"""The base class of tokenizers from other libraries: arbitrary special ids, and special tokens around a text."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gen.data.tokenizers.tokenizer import Tokenizer, encode_utf8
from gen.errors import UserError
from gen.interop.untrusted.limits import MAX_IDS as MAX_IDS
from gen.interop.untrusted.trial import MAX_FILE

ROLES = ("pad", "eos", "unk", "bos", "cls", "sep", "mask")
Ids = tuple[int, ...]


class PretrainedTokenizer(Tokenizer):
  """A tokenizer that came with a checkpoint.

  Attributes:
    pad, eos, unk, bos, cls, sep, mask: ids, or None if absent.
    text_vocab: same as vocab; special ids may be anywhere, see `is_special`.
    byte_lengths: UTF-8 bytes of each id's text, after normalization.
  """

  def __init__(
    self,
    files: dict[str, bytes],
    pieces: list[bytes],
    special: dict[int, str],
    roles: dict[str, int | None],
  ) -> None:
    """Stores the files it was read from, the text of each id, special ids' names, and the id of each role.

    The first file defines the mapping. The hash covers it and the others that change ids.
    """
    self._files, self._special = files, special
    self.vocab = self.text_vocab = len(pieces)
    self._pieces = pieces
    self.byte_lengths = np.array(
      [0 if number in special else len(piece) for number, piece in enumerate(pieces)], np.int32
    )
    for role in ROLES:
      setattr(self, role, roles.get(role))
    # Of the files' bytes: libraries have no canonical form, so equal ids from differently written files have two
    # hashes.
    self.hash = hashlib.sha256(self.kind.encode() + b"\0" + self._model()).hexdigest()[:16]

  def sentinel(self, index: int) -> int:
    """Returns T5's id that marks the index-th span of a text."""
    name = f"<extra_id_{index}>"
    for number, special in self._special.items():
      if special == name:
        return number
    raise ValueError(f"sentinel {index} does not exist; this tokenizer has no {name}")

  def is_special(self, number: int) -> bool:
    """Returns whether an id is special, without text."""
    return number in self._special

  def name(self, number: int) -> str:
    """Returns the displayed form of an id: the name of a special id, the text of another."""
    return self._special.get(number) or self._pieces[number].decode("utf-8", errors="backslashreplace")

  def decode(self, ids: Iterable[int], keep_special: bool = False) -> str:
    """Returns the text of ids, with special ids dropped or as their names.

    Raises:
      ValueError: for an id that does not exist.
    """
    numbers = np.asarray(list(ids) if not isinstance(ids, np.ndarray) else ids).ravel().tolist()
    for number in numbers:
      if not 0 <= number < self.vocab:
        raise ValueError(f"id {number} does not exist; this tokenizer has {self.vocab}")
    with library_errors("the tokenizer cannot decode these ids"):
      return self._decode(numbers, keep_special)

  def encode_for_model(self, text: str, pair: str | None = None) -> np.ndarray:
    """Returns the ids of a text, or of two, with the special ids of the model's training, int32."""
    encode_utf8(text + (pair or ""))
    with library_errors("the tokenizer cannot encode this text"):
      return np.array(self._encode_for_model(text, pair), np.int32)

  @abstractmethod
  def frame(self) -> tuple[Ids, Ids]:
    """Returns the special ids that the model expects before and after a text.

    Raises:
      UserError: if the tokenizer inserts them elsewhere.
    """

  @abstractmethod
  def _decode(self, numbers: list[int], keep_special: bool) -> str: ...

  @abstractmethod
  def _encode_for_model(self, text: str, pair: str | None) -> list[int]: ...

  def _model(self) -> bytes:
    return next(iter(self._files.values()))

  def save(self, folder: str | Path) -> None:
    """Writes the files that it was read from into a folder, which is created if absent."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in self._files.items():
      (folder / name).write_bytes(content)


def content_of(path: Path) -> bytes:
  """Returns the content of a tokenizer's file.

  Raises:
    UserError: if it is too large for a tokenizer.
    OSError: if it cannot be read.
  """
  size = path.stat().st_size
  if size > MAX_FILE:
    raise UserError(f"{path} has {size:,} bytes, more than the {MAX_FILE:,} that a tokenizer's file may have")
  return path.read_bytes()


@contextmanager
def library_errors(what: str) -> Iterator[None]:
  """Converts errors of the tokenizer libraries into one sentence that begins with `what`.

  They raise bare `Exception`, and Rust's panics arrive as a `BaseException`.

  Raises:
    UserError: for each of them.
  """
  try:
    yield
  except (UserError, OSError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
    raise
  # Rust panics, such as of a malformed regular expression, are no `Exception`.
  except BaseException as error:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    raise UserError(f"{what}: {reason}") from error
