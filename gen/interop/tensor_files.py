"""Files of tensors in the safetensors format, read and written a few megabytes at a time.

A file is the length of its header (8 bytes, little endian), the header (JSON: name -> dtype, shape, where its bytes
lie), and the bytes. The format's own library maps the file into memory or holds every tensor at once, which costs a
second checkpoint; here one block of rows is in memory beside the parameters that it goes to or comes from.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from gen.errors import UserError

BLOCK = 16 << 20  # bytes that are in memory at a time
DTYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Tensor(NamedTuple):
  """Where a tensor lies, and what it is.

  Attributes:
    name: as the file has it.
    file: name of the file in its directory.
    dtype: the format's word for it.
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


class Listing(NamedTuple):
  """All tensors of a directory, and what its files say of themselves."""

  tensors: dict[str, Tensor]
  metadata: dict[str, dict[str, str]]  # of each file
  overview: dict[str, Any] | None  # metadata of the index file, where there is one


def listing(directory: Path) -> Listing:
  """Returns what lies in a directory, having read headers only.

  Raises:
    UserError: for a directory without safetensors, a missing shard or a damaged header.
  """
  index, files = None, [SINGLE]
  if not (directory / SINGLE).exists() and (directory / INDEX).exists():
    content = read_json(directory / INDEX)
    index, files = content.get("metadata", {}), sorted(set(content.get("weight_map", {}).values()))
  elif not (directory / SINGLE).exists():
    files = sorted(path.name for path in directory.glob("*.safetensors"))
  if not files:
    raise UserError(_nothing(directory))
  tensors: dict[str, Tensor] = {}
  metadata = {}
  for file in files:
    found, metadata[file] = _header(directory / file)
    tensors |= {tensor.name: tensor for tensor in found}
  return Listing(tensors, metadata, index)


def read_json(path: Path) -> dict[str, Any]:
  """Returns the object in a JSON file.

  Raises:
    UserError: if there is none.
  """
  try:
    content = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    raise UserError(f"{path.parent} has no {path.name}") from None
  except (OSError, ValueError) as error:
    raise UserError(f"{path} cannot be read ({error})") from error
  if not isinstance(content, dict):
    raise UserError(f"{path} holds no JSON object")
  return content


def _nothing(directory: Path) -> str:
  if not directory.is_dir():
    return f"{directory} is no directory"
  pickles = sorted(path.name for path in directory.glob("pytorch_model*.bin"))
  if pickles:
    return (
      f"{directory} has only {pickles[0]}, a pickle that may run code when it is read; "
      "save the model as safetensors first"
    )
  return f"{directory} has no *.safetensors file"


def _header(path: Path) -> tuple[list[Tensor], dict[str, str]]:
  try:
    with path.open("rb") as file:
      length = int.from_bytes(file.read(8), "little")
      size = path.stat().st_size
      if size < 8 or length > size - 8:
        raise UserError(f"{path} is damaged: its header does not fit into its {size} bytes")
      header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    tensors = [_tensor(path, name, entry, 8 + length, size) for name, entry in header.items()]
  except FileNotFoundError:
    raise UserError(f"{path.parent} lacks the file {path.name}, which its index names") from None
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    if isinstance(error, UserError):
      raise
    raise UserError(f"{path} is damaged: its header cannot be read") from error
  return tensors, metadata


def _tensor(path: Path, name: str, entry: dict[str, Any], start: int, size: int) -> Tensor:
  shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
  dtype = DTYPES.get(entry["dtype"])
  if begin > end or start + end > size or (dtype and end - begin != math.prod(shape) * dtype.itemsize):
    raise UserError(f"{path} is damaged: the bytes of {name} are not all there")
  return Tensor(name, path.name, entry["dtype"], shape, start + begin, start + end)


def read_bytes(directory: Path, tensor: Tensor) -> bytes:
  """Returns the bytes of one tensor."""
  with (directory / tensor.file).open("rb") as file:
    file.seek(tensor.begin)
    return file.read(tensor.end - tensor.begin)


def blocks(directory: Path, tensor: Tensor, shape: tuple[int, ...]) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields the tensor, seen in a shape of as many elements, as (rows, their elements)."""
  dtype = DTYPES[tensor.dtype]
  with (directory / tensor.file).open("rb", buffering=0) as file:
    file.seek(tensor.begin)
    for rows in row_blocks(shape, dtype.itemsize):
      block = np.empty((rows.stop - rows.start, *shape[1:]), dtype)
      _fill(file, block.reshape(-1).view(np.uint8), directory / tensor.file)
      yield rows, block


def _fill(file: Any, into: np.ndarray, path: Path) -> None:
  view = memoryview(into)  # type: ignore[arg-type]
  while view:
    count = file.readinto(view)
    if not count:
      raise UserError(f"{path} ended before its last tensor")
    view = view[count:]


def row_blocks(shape: tuple[int, ...], item: int) -> Iterator[slice]:
  """Yields slices of the first axis whose elements of `item` bytes make about one block."""
  height = max(1, BLOCK // max(1, item * math.prod(shape[1:])))
  for first in range(0, shape[0], height):
    yield slice(first, min(first + height, shape[0]))


def same(directory: Path, one: Tensor, other: Tensor) -> bool:
  """Returns whether two tensors hold the same bits in the same shape."""
  if (one.dtype, one.shape) != (other.dtype, other.shape):
    return False
  with (directory / one.file).open("rb") as first, (directory / other.file).open("rb") as second:
    first.seek(one.begin)
    second.seek(other.begin)
    left = one.end - one.begin
    while left:
      count = min(left, BLOCK)
      if first.read(count) != second.read(count):
        return False
      left -= count
  return True


class Entry(NamedTuple):
  """A tensor to be written: its bytes come in pieces, made when they are due."""

  name: str
  dtype: str
  shape: tuple[int, ...]
  size: int  # bytes
  pieces: Iterable[Any]  # bytes or arrays


def write(path: Path, entries: list[Entry], metadata: dict[str, str]) -> None:
  """Writes a file of tensors; it has its name only once it is whole."""
  header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
  offset = 0
  for entry in entries:
    offsets = [offset, offset := offset + entry.size]
    header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": offsets}
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)  # the bytes of tensors begin at a multiple of eight
  partial = path.with_name(path.name + ".partial")
  with partial.open("wb") as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for entry in entries:
      for piece in entry.pieces:
        raw: Any = piece.reshape(-1).view(np.uint8) if isinstance(piece, np.ndarray) else piece
        file.write(raw)
  partial.replace(path)
