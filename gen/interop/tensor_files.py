"""Files of tensors in the safetensors format, read and written a few megabytes at a time.

A file is the length of its header (8 bytes, little endian), the header (JSON: name -> dtype, shape, where its bytes
lie), and the bytes. The format's own library maps the file into memory or holds every tensor at once, which needs
memory for a second checkpoint. Here only one block of rows is in memory besides the parameters.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from gen.errors import UserError
from gen.interop import safetensors_header
from gen.interop.safetensors_header import DTYPES, TensorHeader
from gen.io import json_reading

BLOCK = 16 << 20  # bytes in memory at a time
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# A pickle runs code when it is read, so these are refused.
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_OTHER_FORMATS = (*_PICKLES, ".h5", ".msgpack", ".gguf")


class PackedWeight(NamedTuple):
  """A weight of integers with scales, w = s q.

  Attributes:
    values: the tensor of its levels.
    scales: the tensor of its scales.
    shape: [O, I].
    bits: of a level.
    packed: whether levels are packed into words of 32 bits.
  """

  values: TensorHeader
  scales: TensorHeader
  shape: tuple[int, int]
  bits: int
  packed: bool


class TensorListing(NamedTuple):
  """All tensors of a directory, and the metadata of its files."""

  tensors: dict[str, TensorHeader]
  metadata: dict[str, dict[str, str]]  # of each file
  overview: dict[str, object] | None  # metadata of the index file, if there is one
  packed: Mapping[tuple[str, int], PackedWeight] = MappingProxyType(
    {}
  )  # by file and first byte of the levels


def list_tensors(directory: Path) -> TensorListing:
  """Returns the tensors of a directory; reads headers only.

  Raises:
    UserError: for a directory without safetensors, a missing shard, an index with paths outside the directory or a
      damaged header.
  """
  index, files = None, [SINGLE]
  placed: dict[str, str] = {}
  if not (directory / SINGLE).exists() and (directory / INDEX).exists():
    index, placed = _index(directory / INDEX)
    files = sorted(set(placed.values()))
  elif not (directory / SINGLE).exists():
    files = sorted(path.name for path in directory.glob("*.safetensors"))
  if not files:
    raise UserError(_nothing(directory))
  tensors: dict[str, TensorHeader] = {}
  metadata = {}
  for file in files:
    headers, metadata[file] = safetensors_header.read_header(directory / file)
    for tensor in headers:
      if placed.get(tensor.name, file) != file:
        continue  # the index maps it to another file
      if tensor.name in tensors:
        raise UserError(f"{directory}: {tensor.name} is in {tensors[tensor.name].file} and in {file}")
      tensors[tensor.name] = tensor
  for name, file in placed.items():
    if name not in tensors:
      raise UserError(f"{directory / file} has no tensor {_brief(name)}, which {INDEX} lists there")
  return TensorListing(tensors, metadata, index)


def _index(path: Path) -> tuple[dict[str, object], dict[str, str]]:
  """Returns the metadata of an index, and the file of each tensor."""
  content = read_json(path)
  metadata = json_reading.require_kind(content.get("metadata", {}), dict, f"{path}: metadata")
  placed = json_reading.require_field(content, "weight_map", dict, str(path))
  for file in placed.values():
    json_reading.require_kind(file, str, f"{path}: weight_map")
    plain = bool(file) and not set(file) & set("/\\\0") and file not in (".", "..")
    if not plain or not file.endswith(".safetensors"):
      raise UserError(
        f"{path} names {_brief(file)}; an index names *.safetensors files beside it, nothing else"
      )
  if not placed:
    raise UserError(f"{path} names no file")
  return metadata, placed


def _brief(text: str) -> str:
  return repr(text if len(text) <= 60 else f"{text[:57]}...")


def read_json(path: Path) -> dict[str, object]:
  """Returns the object in a JSON file.

  Raises:
    UserError: if there is none.
  """
  if not path.exists():
    raise UserError(f"{path.parent} has no {path.name}")
  content: dict[str, object] = json_reading.read_json(path, max_bytes=safetensors_header.MAX_BYTES)
  return content


def _nothing(directory: Path) -> str:
  if not directory.is_dir():
    return f"{directory} is not a folder"
  others = [path for end in _OTHER_FORMATS for path in sorted(directory.glob(f"*{end}"))]
  if others:
    pickled = others[0].suffix in _PICKLES
    kind = "a pickle, which may run code when it is read" if pickled else "a format that is not supported"
    convert = f"{_class(directory)}.from_pretrained({str(directory)!r}).save_pretrained('NEW_FOLDER')"
    first = f"{directory} has only {others[0].name}, {kind}; save the model as safetensors first"
    return f"{first}, with transformers: {convert}"
  return f"{directory} has no *.safetensors file"


def _class(directory: Path) -> str:
  """Returns the class of transformers that config.json names, or the most general."""
  try:
    names = read_json(directory / "config.json").get("architectures")
  except UserError:
    names = None
  name = names[0] if isinstance(names, list) and names else ""
  return name if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9]{1,60}", name) else "AutoModel"


def read_bytes(directory: Path, tensor: TensorHeader) -> bytes:
  """Returns the bytes of one tensor."""
  with (directory / tensor.file).open("rb") as file:
    file.seek(tensor.begin)
    return file.read(tensor.end - tensor.begin)


def read_blocks(
  directory: Path, tensor: TensorHeader, shape: tuple[int, ...]
) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields the tensor, reshaped, in blocks of (rows, their elements)."""
  dtype = DTYPES[tensor.dtype]
  # Unbuffered: each block goes straight from the file into its array.
  with (directory / tensor.file).open("rb", buffering=0) as file:
    file.seek(tensor.begin)
    for rows in row_blocks(shape, dtype.itemsize):
      block = np.empty((rows.stop - rows.start, *shape[1:]), dtype)
      _fill(file, block.reshape(-1).view(np.uint8), directory / tensor.file)
      yield rows, block


def _fill(file: Any, into: np.ndarray, path: Path) -> None:
  view = memoryview(into)  # type: ignore[arg-type]
  while view:
    # It may return fewer bytes than the view has.
    count = file.readinto(view)
    if not count:
      raise UserError(f"{path} ended before its last tensor")
    view = view[count:]


def row_blocks(shape: tuple[int, ...], item: int) -> Iterator[slice]:
  """Yields slices of the first axis of about one block each, for elements of `item` bytes."""
  height = max(1, BLOCK // max(1, item * math.prod(shape[1:])))
  for first in range(0, shape[0], height):
    yield slice(first, min(first + height, shape[0]))


def same_tensors(directory: Path, tensor: TensorHeader, other_tensor: TensorHeader) -> bool:
  """Returns whether two tensors hold the same bits in the same shape."""
  if (tensor.dtype, tensor.shape) != (other_tensor.dtype, other_tensor.shape):
    return False
  if tensor.end - tensor.begin != other_tensor.end - other_tensor.begin:
    return False  # one holds integers in fewer bits
  with (directory / tensor.file).open("rb") as first, (directory / other_tensor.file).open("rb") as second:
    first.seek(tensor.begin)
    second.seek(other_tensor.begin)
    left = tensor.end - tensor.begin
    while left:
      count = min(left, BLOCK)
      if first.read(count) != second.read(count):
        return False
      left -= count
  return True


class NewTensor(NamedTuple):
  """A tensor to be written: its bytes are computed in pieces, on demand."""

  name: str
  dtype: str
  shape: tuple[int, ...]
  size: int  # bytes
  pieces: Iterable[Any]  # bytes or arrays


def write_tensors(path: Path, entries: list[NewTensor], metadata: dict[str, str]) -> None:
  """Writes a file of tensors; the file appears under its name only when complete."""
  header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
  offset = 0
  for entry in entries:
    offsets = [offset, offset := offset + entry.size]
    header[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": offsets}
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)  # the format aligns tensors to 8 bytes
  partial = path.with_name(path.name + ".partial")
  with partial.open("wb") as file:
    file.write(len(text).to_bytes(8, "little") + text)
    for entry in entries:
      for piece in entry.pieces:
        raw: Any = piece.reshape(-1).view(np.uint8) if isinstance(piece, np.ndarray) else piece
        file.write(raw)
  partial.replace(path)
