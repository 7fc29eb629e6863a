"""Files of one pass in the work folder: rows, features of the next global stage, names, drops, and a tally.

A shard is complete when its tally exists, which is written last and holds the size and CRC-32 of the other files. A
killed run leaves shards that are complete or are made again, with the same bytes.
"""

import contextlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict, cast

import numpy as np
import zstandard

from gen.data import cache
from gen.data.curation.passes.tallies import TallyRecord
from gen.errors import UserError

LEVEL = 1  # of Zstandard, in the work folder: the fastest, as these files are read once and deleted


class Row(NamedTuple):
  """A document on its way through the stages.

  Attributes:
    n: its number in the order of the sources, from 0.
    source: label in the report.
    name: as in `Document`.
    text: as in `Document`.
    scores: by stage.
    tokens: of the text, as the report counts them; -1 before they were counted.
  """

  n: int
  source: str
  name: str
  text: str
  scores: Mapping[str, float] = {}
  tokens: int = -1


def shard_path(folder: Path, index: int, part: str) -> Path:
  """Returns the path of one file of a shard."""
  return folder / f"{index:06d}.{part}"


def write_file(path: Path, content: bytes) -> list[int]:
  """Writes a file under its name only when it is complete; returns its size and CRC-32.

  Raises:
    UserError: if it cannot be written.
  """
  partial = path.with_name(path.name + ".partial")
  try:
    partial.write_bytes(content)
    partial.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise no_space(path, error) from error
  return [len(content), zlib.crc32(content)]


def no_space(path: Path, error: OSError) -> UserError:
  """Returns the error of a write that failed; the same command continues later."""
  what = "no space left for" if error.errno in cache.NO_SPACE else "cannot write"
  return UserError(
    f"{what} {path}: {error.strerror}; make room, and the same command continues where it stopped"
  )


def encode_rows(rows: Iterable[Row]) -> bytes:
  """Returns rows as compressed JSON lines."""
  lines = [json.dumps(row._asdict(), ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows]
  return compress_text("".join(lines))


def compress_text(text: str) -> bytes:
  """Returns a text compressed by Zstandard."""
  return zstandard.ZstdCompressor(level=LEVEL).compress(text.encode("utf-8"))


def read_rows(folder: Path, index: int) -> Iterator[Row]:
  """Yields the rows of a shard in order."""
  # At once, because a stream that was cut off ends without an error.
  content = zstandard.ZstdDecompressor().decompress(shard_path(folder, index, "rows.zst").read_bytes())
  for line in io.BytesIO(content):
    yield Row(**json.loads(line))


def encode_array(array: np.ndarray) -> bytes:
  """Returns an array as the bytes of a .npy file."""
  stream = io.BytesIO()
  np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
  return stream.getvalue()


def load_array(folder: Path, index: int, part: str) -> np.ndarray:
  """Returns an array of a shard, mapped into memory."""
  path = shard_path(folder, index, part)
  # Small files are read: a mapping of each would cost more than its bytes.
  return np.load(path, mmap_mode="r" if path.stat().st_size > 1 << 16 else None, allow_pickle=False)


class ShardRecord(TypedDict):
  """What is counted in one shard of a pass.

  Attributes:
    stages: tally of each stage, by name.
    entered: documents that entered.
    left: documents that left.
  """

  stages: dict[str, TallyRecord]
  entered: int
  left: int


def write_shard(folder: Path, index: int, parts: dict[str, bytes], tally: ShardRecord) -> None:
  """Writes the files of a shard, and its tally last.

  Raises:
    UserError: if one cannot be written.
  """
  files = {part: write_file(shard_path(folder, index, part), content) for part, content in parts.items()}
  body = json.dumps({"files": files, "tally": tally}, ensure_ascii=False)
  # The body is a string inside, so that its checksum is of exact bytes.
  record = json.dumps({"crc": zlib.crc32(body.encode()), "body": body}, ensure_ascii=False)
  write_file(shard_path(folder, index, "done.json"), record.encode())


def read_tally(folder: Path, index: int, check: bool = False) -> ShardRecord | None:
  """Returns the tally of a shard; None if it is absent or damaged.

  Args:
    folder: of the pass.
    index: of the shard.
    check: whether to compare the other files with it as well.
  """
  try:
    record = json.loads(shard_path(folder, index, "done.json").read_bytes())
    if zlib.crc32(record["body"].encode()) != record["crc"]:
      return None
    body = json.loads(record["body"])
    for part, expected in body["files"].items() if check else ():
      content = shard_path(folder, index, part).read_bytes()
      if [len(content), zlib.crc32(content)] != expected:
        return None
    return cast(ShardRecord, body["tally"])
  # Any damage makes the shard count as absent, and it is made again.
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return None
