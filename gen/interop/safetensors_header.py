"""Headers of untrusted safetensors files, fully checked before use.

A file is the length of its header (8 bytes, little endian), the header (JSON: name -> dtype, shape, where its bytes
lie), and the bytes, each of which belongs to exactly one tensor.
"""

import math
import stat
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import ml_dtypes
import numpy as np

from gen.errors import UserError, summarize_error
from gen.io import json_reading

DTYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
MAX_BYTES = 1 << 25  # of a header or another JSON file; parsed, it may need 30 times as much memory
# NumPy's own maximum in versions before 2.
MAX_AXES = 32
_WORD_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1} | {
  f"{sign}{8 * size}": size for sign in "IU" for size in (1, 2, 4, 8)
}  # bytes of one element; other types are copied as bytes
_WORD_BYTES["BOOL"] = 1


class TensorHeader(NamedTuple):
  """The location, type and shape of a tensor.

  Attributes:
    name: as in the file.
    file: name of the file in its directory.
    dtype: the format's name of its type.
    shape: sizes of its axes.
    begin: first byte, from the start of the file.
    end: the byte after its last.
  """

  name: str
  file: str
  dtype: str
  shape: tuple[int, ...]
  begin: int
  end: int


def read_header(path: Path) -> tuple[list[TensorHeader], dict[str, str]]:
  """Returns the tensors of a file in order of their offsets, and its metadata.

  Raises:
    UserError: for a file that is missing, cut off, or has an invalid header.
  """
  try:
    if not stat.S_ISREG(path.stat().st_mode):
      raise UserError(f"{path} is not a file")
    with path.open("rb") as file:
      length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
      if size < 8 or length > size - 8:
        raise UserError(f"{path} is damaged: its header does not fit into its {size} bytes")
      if length > MAX_BYTES:
        raise UserError(f"{path} has a header of {length:,} bytes; more than {MAX_BYTES:,} are not read")
      content = file.read(length)
  except FileNotFoundError:
    raise UserError(f"{path.parent} lacks the file {path.name}, which its index names") from None
  except OSError as error:
    raise UserError(f"{path} cannot be read: {error.strerror}") from error
  try:
    header = json_reading.parse_json(content, "it", unique=True)
  except UserError as error:
    raise UserError(f"{path} is damaged: its header cannot be read ({summarize_error(error)})") from error
  metadata = _metadata(header.pop("__metadata__", {}), path)
  tensors = [_tensor(path, name, entry, 8 + length, size) for name, entry in header.items()]
  _check_places(path, tensors, 8 + length, size)
  return tensors, metadata


def _metadata(values: Any, path: Path) -> dict[str, str]:
  if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
    raise UserError(f"{path} is damaged: its __metadata__ is not an object of strings")
  return values


def _tensor(path: Path, name: str, entry: Any, start: int, size: int) -> TensorHeader:
  excerpt = repr(name if len(name) <= 60 else f"{name[:57]}...")
  if not isinstance(entry, dict):
    raise UserError(
      f"{path} is damaged: its header describes {excerpt} by {json_reading.describe_kind(entry)}"
    )
  word, shape, offsets = (entry.get(key, ()) for key in ("dtype", "shape", "data_offsets"))
  if not isinstance(word, str) or not _are_sizes(shape) or len(shape) > MAX_AXES:
    raise UserError(f"{path} is damaged: the type or the shape of {excerpt} is invalid")
  if not _are_sizes(offsets) or len(offsets) != 2:
    raise UserError(f"{path} is damaged: the data_offsets of {excerpt} are not two whole numbers")
  begin, end = offsets
  wanted = math.prod(shape) * _WORD_BYTES.get(word, 0)
  if begin > end or start + end > size or (word in _WORD_BYTES and end - begin != wanted):
    raise UserError(f"{path} is damaged: the bytes of {excerpt} are incomplete")
  return TensorHeader(name, path.name, word, tuple(shape), start + begin, start + end)


def _are_sizes(values: Any) -> TypeGuard[list[int]]:
  return isinstance(values, list) and all(
    isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 for value in values
  )


def _check_places(path: Path, tensors: list[TensorHeader], start: int, size: int) -> None:
  """Checks that each byte after the header belongs to exactly one tensor."""
  end, before = start, ""
  for tensor in sorted(tensors, key=lambda each: (each.begin, each.end)):
    if tensor.begin != end:
      kind = "overlap" if tensor.begin < end else "leave a gap"
      raise UserError(f"{path} is damaged: the bytes of {before!r:.60} and {tensor.name!r:.60} {kind}")
    end, before = tensor.end, tensor.name
  if end != size:
    raise UserError(f"{path} is damaged: {size - end:,} bytes at its end belong to no tensor")
