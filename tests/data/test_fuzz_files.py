"""Damaged files of every kind: each is read, or is one sentence."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pytest
import zstandard

from gen.data.sources.file_formats import files
from gen.errors import UserError

LINES = "".join(json.dumps({"id": i, "text": f'line {i} «ü», "q"\nend'}) + "\n" for i in range(9)).encode()
TABLE = b'id,text\n1,"one, two"\n2,"three\nfour"\n3,five\n'
MARKS = (
  b"\xef\xbb\xbf",
  b"<!--",
  b"PK\x03\x04",
  b"\x1f\x8b\x08",
  b"null",
  b"-1",
  b"../",
  b"\\ud800",
  b"9" * 5000,
)
SNIPPETS = (b'"', b"{", b"[", b"}", b"]", b"\0", b"\xff", b"\n", b",", *MARKS)


def zipped():
  written = io.BytesIO()
  with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("a.jsonl", LINES)
    archive.writestr("b/c.csv", TABLE)
  return written.getvalue()


def tarred():
  written = io.BytesIO()
  with tarfile.open(fileobj=written, mode="w") as archive:
    for name, content in (("a.jsonl", LINES), ("b.csv", TABLE)):
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
  return written.getvalue()


def parquet():
  try:
    import pyarrow
    from pyarrow import parquet as writer
  except ImportError:
    return b"PAR1"
  written = io.BytesIO()
  writer.write_table(pyarrow.table({"id": [1, 2, 3], "text": ["one", "two", "three"]}), written)
  return written.getvalue()


def seeds():
  plain = [
    LINES,
    TABLE,
    json.dumps([{"text": "a"}, {"text": "b"}], indent=1).encode(),
    json.dumps({"data": [{"text": "a"}]}).encode(),
    b"<!doctype html><html><body><p>a &amp; b</p></html>",
    "prose, é and 😀\n".encode() * 9,
  ]
  packed = [
    gzip.compress(LINES),
    bz2.compress(LINES),
    lzma.compress(LINES),
    zstandard.ZstdCompressor().compress(LINES),
  ]
  return [
    *plain,
    *packed,
    zipped(),
    tarred(),
    gzip.compress(tarred()),
    LINES.decode().encode("utf-16"),
    parquet(),
  ]


def damaged(content, rng):
  """Returns the content with one to four bytes flipped, parts cut out, doubled or put in."""
  whole = bytearray(content)
  for _ in range(rng.randint(1, 4)):
    at = rng.randrange(len(whole) + 1)
    kind = rng.randrange(5)
    if kind == 0 and at < len(whole):
      whole[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
      del whole[at : at + rng.randint(1, 40)]
    elif kind == 2:
      whole[at:at] = whole[at : at + rng.randint(1, 200)]
    elif kind == 3:
      whole[at:at] = rng.choice(SNIPPETS) * rng.randint(1, 3)
    else:
      del whole[at:]
  return bytes(whole)


@pytest.mark.parametrize("name", ["a.txt", "a.json.gz", "a.csv", "a.jsonl"])
def test_a_damaged_file_is_read_or_is_one_sentence(fuzz, tmp_path, name):
  wholes, path = seeds(), tmp_path / name
  for rng in fuzz.rounds():
    content = damaged(rng.choice(wholes), rng)
    path.write_bytes(content)
    try:
      for document in files.read_documents(files.find_files(str(path)), "text"):
        document.text.encode("utf-8")
    except UserError as error:
      assert "\n" not in str(error) and len(str(error)) < 800, content
    except BaseException:
      (tmp_path / "failing").write_bytes(content)
      print(f"the file that failed: {content!r}")
      raise
