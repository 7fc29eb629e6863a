"""Documents of the members of an archive, in the forms that a manifest names.

| form | documents |
|---|---|
| text | one per member, as it is |
| docstrings | one per Python file: its docstrings; no tests and no foreign code |
| strings | one per JSON file: its strings under given keys, without HTML's markup if they are HTML |
| records | as in files of the user's own: docs/data.md |

Docstrings and strings that occurred before in the archive are left out, and so are documents of under 200 characters.
"""

import fnmatch
import gzip
import html
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gen.data.document import Document
from gen.data.sources.file_formats import archives, files, html_text
from gen.data.sources.python_packages import docstrings, environment
from gen.data.sources.python_packages.manifests import Reading
from gen.errors import UserError, summarize_error
from gen.io import cores
from gen.io.json_reading import parse_json

# Bytes of one member, and of one that is decompressed once more; chosen: larger than any member of the named packages.
MAX_MEMBER = 256 << 20
_Member = tuple[str, bytes]


def read_members(path: Path, readings: Sequence[Reading], where: str) -> Iterator[Document]:
  """Yields the documents of an archive: of each reading in turn, by name of the member.

  Raises:
    UserError: if the archive is damaged or hostile, no member matches, or one has another form.
  """
  for reading in readings:
    members = _members(path, reading, where)
    documents = _FORMS[reading.form](members, reading, where)
    yield from (
      documents
      if reading.form == "records"
      else (document for document in documents if len(document.text) >= environment.MIN_CHARACTERS)
    )


def _members(path: Path, reading: Reading, where: str) -> Iterator[_Member]:
  """Yields (name, content) of the members that a reading names, in order of name."""
  matched = False
  for name, stream in archives.zip_members(path, _ignore, wanted=lambda name: _matches(name, reading)):
    matched = True
    content = stream.read(MAX_MEMBER + 1)
    if len(content) > MAX_MEMBER:
      raise UserError(f"{where}: {name} has more than {MAX_MEMBER >> 20} MiB; it is not read")
    yield name, content
  if not matched and not reading.optional:
    raise UserError(f"{where}: no member of {path.name} matches {reading.members!r}")


def _matches(name: str, reading: Reading) -> bool:
  return fnmatch.fnmatchcase(name, reading.members) and ".dist-info/" not in name


def _ignore(_: str) -> None:
  """Ignores a warning about links, which no wheel needs."""


def _plain_texts(members: Iterator[_Member], reading: Reading, where: str) -> Iterator[Document]:
  seen: set[str] = set()
  for name, content in members:
    text = _decoded(content, f"{where}: {name}").replace("\r\n", "\n")
    if reading.skip and re.search(reading.skip, text):
      continue
    text = re.sub(rf"\A(?:{reading.without})", "", text) if reading.without else text
    if reading.max_repeated < 1:
      paragraphs = [" ".join(paragraph.split()).lower() for paragraph in re.split(r"\n\s*\n", text)]
      repeated = sum(len(paragraph) for paragraph in paragraphs if paragraph in seen)
      if repeated > reading.max_repeated * sum(map(len, paragraphs)):
        continue
      seen.update(paragraphs)
    yield Document(name, text)


def _docstrings(members: Iterator[_Member], reading: Reading, where: str) -> Iterator[Document]:
  """Yields the docstrings of Python files, which are parsed by several processes and never imported."""
  with tempfile.TemporaryDirectory() as folder:
    names: list[str] = []
    paths: list[str] = []
    for name, content in members:
      if environment.is_documented(name, content):
        names.append(name)
        paths.append(f"{folder}/{len(paths)}.py")
        Path(paths[-1]).write_bytes(content)
    seen: set[str] = set()
    extracted = docstrings.docstrings_of_files(paths, cores.available_cores())
  for name, texts in zip(names, extracted, strict=True):
    yield Document(name, _joined(texts, seen))


def _strings(members: Iterator[_Member], reading: Reading, where: str) -> Iterator[Document]:
  seen: set[str] = set()
  raw: set[str] = set()  # strings before their markup is removed, which takes longer than to compare them
  for name, content in members:
    content = _unpacked(content, f"{where}: {name}") if name.endswith(".gz") else content
    strings = _strings_under(parse_json(content, f"{where}: {name}", object), frozenset(reading.keys))
    texts = [text for text in dict.fromkeys(strings) if text not in raw]
    raw.update(texts)
    if reading.html:
      texts = [_visible(text, f"{where}: {name}") for text in texts]
    yield Document(name, _joined([text.strip() for text in texts], seen))


def _strings_under(node: Any, keys: frozenset[str]) -> Iterator[str]:
  """Yields the strings of JSON under any of the keys, also in lists; an explicit stack, so that no depth ends it."""
  waiting = [(node, False)]
  while waiting:
    item, wanted = waiting.pop()
    if isinstance(item, dict):
      waiting.extend((value, key in keys) for key, value in reversed(item.items()))
    elif isinstance(item, list):
      waiting.extend((value, wanted) for value in reversed(item))
    elif wanted and isinstance(item, str):
      yield item


def _visible(text: str, where: str) -> str:
  try:
    return html_text.visible_text(text) if "<" in text else html.unescape(text)
  except ValueError as error:
    raise UserError(f"{where}: {error}") from None


def _joined(texts: Sequence[str], seen: set[str]) -> str:
  """Returns the texts that are new, a blank line between them; adds them to `seen`."""
  fresh = [
    text for text in dict.fromkeys(texts) if text and text not in seen and environment.is_encodable(text)
  ]
  seen.update(fresh)
  return "\n\n".join(fresh) + "\n"


def _records(members: Iterator[_Member], reading: Reading, where: str) -> Iterator[Document]:
  for name, content in members:
    yield from files.read_content(name, f"{where}: {name}", content, reading.field)


def _decoded(content: bytes, where: str) -> str:
  try:
    return content.decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise UserError(f"{where}: is not UTF-8 at byte {error.start:,}") from error


def _unpacked(content: bytes, where: str) -> bytes:
  """Returns the content of a gzip member, of which a bomb is not unpacked."""
  # 31: a window of 2^15 (15) and a gzip header (+ 16), as zlib's manual has it.
  stream = zlib.decompressobj(wbits=31)
  try:
    unpacked = stream.decompress(content, MAX_MEMBER)
    if not stream.eof and not stream.unconsumed_tail:
      raise EOFError("it ends early")
  except (zlib.error, EOFError, gzip.BadGzipFile) as error:
    raise UserError(f"{where}: the compressed member is damaged ({summarize_error(error)})") from error
  if stream.unconsumed_tail:
    raise UserError(f"{where}: expands to more than {MAX_MEMBER >> 20} MiB; it is not read")
  return unpacked


_FORMS = {"text": _plain_texts, "docstrings": _docstrings, "strings": _strings, "records": _records}
