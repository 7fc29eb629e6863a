"""The kind of a file by its first bytes; the suffix decides only if the bytes are ambiguous.

| kind | recognized by |
|---|---|
| zip, tar, parquet, arrow | their magic bytes |
| jsonl | a first line that is a JSON object, and a second line that is one, where there is a second |
| json | a list of objects, lists or texts, or one object over several lines |
| html | a first tag that is <!doctype html>, <html>, <head> or <body> |
| csv | a first row of names and rows of as many fields, under the suffix .csv or .tsv or with a known name of a text |
| text | anything else without zero bytes |
"""

import csv
import io
import json
import re
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from gen.data.sources.file_formats import compressed, encodings
from gen.errors import UserError
from gen.io.csv_rows import RowReader

VERSION = 1  # of the rules on this page; part of what identifies a corpus
FORMATS = ("text", "jsonl", "json", "csv", "html", "parquet", "arrow")
TITLES = {  # of formats of records and pages, in notes
  "jsonl": "JSON lines",
  "json": "JSON",
  "csv": "a table",
  "html": "HTML",
  "parquet": "parquet",
  "arrow": "Arrow",
}
NOT_IN_ARCHIVES = ("zip", "tar", "parquet", "arrow")
# Names of the field with a record's text, in the order in which they are tried.
FIELDS = ("text", "content", "body", "document", "article", "passage", "story", "sentence")
# Enough for a long header of comments, and read at once.
HEAD = 1 << 16
# Bytes of one record; chosen: ten times the longest book, so that a file that is no text fails before memory ends.
MAX_RECORD = 64 << 20
# A table of text has few; one of numbers is not text.
MAX_COLUMNS = 10_000
_COMPRESSIONS = (".gz", ".xz", ".zst", ".zstd", ".bz2", ".bgz")
_CHECKPOINT = "the weights of a model; scripts/import_checkpoint.py reads a folder of them"
_REFUSED = (  # (first bytes of the file, its kind)
  (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|II\*\x00|MM\x00\*|RIFF....WEBP|BM.{4}\x00{4}|\x00\x00\x01\x00", "an image"),
  (rb"%PDF-", "a PDF document; extract its text first, for example by pdftotext"),
  (rb"\{\\rtf", "an RTF document; save it as plain text first"),
  (rb"\xd0\xcf\x11\xe0", "an Office document; save it as plain text first"),
  (rb".{6}\x00\x00\{", f"a safetensors file, {_CHECKPOINT}"),
  (rb"GGUF", "a GGUF file, the weights of a model"),
  (rb"\x93NUMPY", "a NumPy array"),
  (rb"\x89HDF", "an HDF5 file of arrays"),
  (rb"\x80[\x02-\x05]", "a Python pickle"),
  (rb"SQLite format 3\x00", "an SQLite database; export a table as CSV first"),
  (rb"\x7fELF|MZ.{58,}|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|\x00asm", "a program"),
  (rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x1f\x9d|\x04\x22\x4d\x18", "an archive of another kind; unpack it first"),
  (rb"PARE", "an encrypted parquet file; decrypt it first"),
  (rb"Obj\x01|ORC", "an Avro or ORC file; save it as parquet or JSON lines first"),
  (rb"ID3|OggS|fLaC|RIFF....(WAVE|AVI )|....ftyp|\x1aE\xdf\xa3", "sound or video"),
)  # fmt: skip
_REFUSED_COMPILED = tuple((re.compile(pattern, re.S), what) for pattern, what in _REFUSED)
# An Arrow file, or an Arrow stream: a mark and the length of the schema, which is below 16 MiB.
_ARROW = re.compile(rb"ARROW1\x00\x00|\xff\xff\xff\xff...\x00.\x00\x00\x00", re.S)
_STRING = r'"(?:[^"\\]|\\.)*"'
_LIST = re.compile(rf'\[\s*(?:\{{\s*(?:{_STRING}\s*:|\}})|"(?:[^"\\]|\\.)*(?:"\s*(?:,|\]|$)|$)|\]\s*$)')
_OBJECT = re.compile(rf"\{{\s*(?:{_STRING}\s*:\s*[\[{{\"\d\-tfnNI]|\}})")
# The HTML standard lets an XML declaration and comments stand before the doctype or the first tag.
_HTML = re.compile(
  r"(?:<\?xml[^>]*>\s*|<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
# All control characters but white space, backspace, the four separators, and the escape of terminals'
# colours.
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x1c\x1d\x1e\x1f\b"))


class FileKind(NamedTuple):
  """The kind of a file's content.

  Attributes:
    format: one of FORMATS, or zip or tar.
    encoding: of its text.
    delimiter: between the fields of a csv.
  """

  format: str
  encoding: str = "utf-8"
  delimiter: str = ","


def detect_kind(
  stream: IO[bytes], name: str, where: str, forced: str | None = None
) -> tuple[FileKind, IO[bytes]]:
  """Returns the kind of a decompressed stream, and the stream from its beginning, its text in UTF-8.

  Args:
    stream: of decompressed bytes.
    name: of the file; its suffix decides if the bytes are ambiguous.
    where: its name in errors.
    forced: the format requested by the user.

  Raises:
    UserError: if it is not text; the sentence names the kind.
  """
  head, stream = compressed.peek_stream(stream, HEAD)
  if forced != "text":
    if re.match(rb"PK(\x03\x04|\x05\x06|\x07\x08)", head):
      return FileKind("zip"), stream
    # POSIX's mark of a tar header stands at byte 257.
    if head[257:262] == b"ustar":
      return FileKind("tar"), stream
  if head.startswith(b"PAR1") and forced in (None, "parquet"):
    return FileKind("parquet"), stream
  if forced == "parquet":
    raise UserError(f"{where}: not a parquet file")
  if _ARROW.match(head) and forced in (None, "arrow"):
    return FileKind("arrow"), stream
  if forced == "arrow":
    raise UserError(f"{where}: not an Arrow file")
  encoding = encodings.detect_encoding(head)
  if encoding in ("utf-8", "utf-8-sig") and forced is None:
    _refuse_binary(head, name, where)
  stream = encodings.as_utf8(stream, encoding, where)
  if encoding != "utf-8":
    head, stream = compressed.peek_stream(stream, HEAD)
  text = head.decode("utf-8", errors="ignore")
  if forced == "csv":
    return FileKind("csv", encoding, _delimiter_of_header(text)), stream
  if forced:
    return FileKind(forced, encoding), stream
  return _by_content(text, head, stream, _suffix(name), encoding)


def is_page(start: str) -> bool:
  """Returns whether a text without blanks before it begins as an HTML page does."""
  return _HTML.match(start) is not None


def _suffix(name: str) -> str:
  path = PurePosixPath(name.lower())
  while path.suffix in _COMPRESSIONS:
    path = path.with_suffix("")
  return path.suffix


def _refuse_binary(head: bytes, name: str, where: str) -> None:
  for pattern, description in _REFUSED_COMPILED:
    # Words such as MZ and ID3 may begin a text, which holds no control characters.
    if pattern.match(head) and (head.startswith((b"%PDF-", b"{\\rtf")) or _is_binary(head)):
      kind, _, advice = description.partition("; ")
      raise UserError(f"{where}: this is {kind}, not text" + (f"; {advice}" if advice else ""))
  if _is_binary(head):
    hint = "; write tfds:NAME for a set of TFDS" if "record" in name.lower() else ""
    raise UserError(f"{where}: this is binary data, not text{hint}")


def _is_binary(head: bytes) -> bool:
  if 0 in head:
    return True
  control = len(head) - len(head.translate(None, _CONTROL))
  # 2 %: a text may hold a few stray control characters; binary data without zeros has a tenth.
  return control > 0.02 * len(head)


def _by_content(
  text: str, head: bytes, stream: IO[bytes], suffix: str, encoding: str
) -> tuple[FileKind, IO[bytes]]:
  start = text.lstrip()
  if suffix in (".jsonl", ".ndjson") and start[:1] in ("{", "[", '"'):
    return FileKind("jsonl", encoding), stream
  if start.startswith("{") and _OBJECT.match(start):
    lines, stream = _two_lines(head, stream)
    return FileKind("jsonl" if _are_objects(lines) else "json", encoding), stream
  if _LIST.match(start) or (start.startswith("[") and suffix == ".json"):
    return FileKind("json", encoding), stream
  if _HTML.match(start) or (suffix in (".html", ".htm", ".xhtml") and start.startswith("<")):
    return FileKind("html", encoding), stream
  delimiter = _delimiter(text, suffix, complete=len(head) < HEAD)
  if delimiter:
    return FileKind("csv", encoding, delimiter), stream
  return FileKind("text", encoding), stream


def _two_lines(head: bytes, stream: IO[bytes]) -> tuple[list[bytes], IO[bytes]]:
  """Returns the first two lines that are not blank; only the first may be longer than the head."""
  lines = [line for line in head.split(b"\n") if line.strip()]
  if len(lines) > 1 or len(head) < HEAD:
    return lines[:2], stream
  first_line = stream.readline(MAX_RECORD)
  following, stream = compressed.peek_stream(stream, HEAD)
  lines = [first_line, following] if first_line.endswith(b"\n") and following.strip() else [first_line]
  return lines, io.BufferedReader(compressed.RejoinedStream(first_line, stream), HEAD)


def _are_objects(lines: list[bytes]) -> bool:
  """Returns whether the first lines are JSON lines: more than one, each the beginning of an object."""
  return len(lines) > 1 and all(_begins_object(line) for line in lines)


def _begins_object(line: bytes) -> bool:
  try:
    return isinstance(json.loads(line[:HEAD]), dict)
  except RecursionError:
    return False
  except ValueError as error:
    cut = isinstance(error, json.JSONDecodeError) and error.pos >= len(line.rstrip()) - 1
    return line.lstrip().startswith(b"{") and (cut or len(line) > HEAD // 4)


def _delimiter_of_header(text: str) -> str:
  header = text.lstrip("\r\n").partition("\n")[0]
  return max(",\t;|", key=header.count)


def _delimiter(text: str, suffix: str, complete: bool) -> str:
  """Returns the delimiter of a table; empty if the text is no table."""
  named = suffix in (".csv", ".tsv")
  header = text.lstrip("\r\n").partition("\n")[0]
  if not named and not any(name in header.lower() for name in FIELDS):
    return ""
  if header.count(",") + header.count("\t") + header.count(";") > MAX_COLUMNS:
    return _delimiter_of_header(text) if named else ""
  for delimiter in sorted("\t,;", key=header.count, reverse=True):
    rows = _rows(text, delimiter, complete)
    if not rows or not _is_header(rows[0], named):
      continue
    has_text_field = any(name.strip().lower() in FIELDS for name in rows[0])
    even = all(len(row) == len(rows[0]) for row in rows[1:])
    columns = len(rows[0])
    if named and (columns > 1 or has_text_field):
      return delimiter
    if has_text_field and columns > 1 and len(rows) > 1 and even:
      return delimiter
  return ""


def _rows(text: str, delimiter: str, complete: bool) -> list[list[str]]:
  lines = text.splitlines(keepends=True)
  rows = []
  try:
    for row in RowReader(lines if complete else lines[:-1], delimiter, MAX_RECORD):
      if row:
        rows.append(row)
      if len(rows) == 20:
        break
  except csv.Error:
    return []
  return rows


def _is_header(row: list[str], named: bool) -> bool:
  names = [name.strip() for name in row]
  return len(set(names)) == len(names) and all(len(name) <= 64 for name in names) and (named or all(names))
