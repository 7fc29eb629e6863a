"""Ten further hostile files for each reader of texts: one sentence or documents, in bounded time and memory."""

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import zlib

import pytest
import zstandard

from gen.data.sources.file_formats import files
from tests import hostile


def read(path):
  for document in files.read_documents(files.find_files(str(path)), "text"):
    document.text.encode("utf-8")


def zstd(window, content=b"a text\n"):
  """Returns a frame of one raw block whose header asks for a window of 2 ** window bytes."""
  header = bytes([0, (window - 10) << 3])  # no single segment, no content size
  return b"\x28\xb5\x2f\xfd" + header + struct.pack("<I", len(content) << 3 | 1)[:3] + content


def zstd_sized(size, content=b"a text\n"):
  """Returns a frame that says that it holds so many bytes."""
  return (
    b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + struct.pack("<I", len(content) << 3 | 1)[:3] + content
  )


def xz_with(dictionary):
  """Returns an xz file whose block asks for a dictionary; 40 is the code of 4 GiB."""
  whole = bytearray(lzma.compress(b"a text\n" * 100, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
  whole[16] = dictionary
  whole[20:24] = struct.pack("<I", zlib.crc32(bytes(whole[12:20])))
  return bytes(whole)


def gzip_named(name):
  return b"\x1f\x8b\x08\x08" + bytes(6) + name + gzip.compress(b"x")[10:]


COMPRESSED = {
  "zstd with a window of 4 GB": lambda: zstd(32),
  "zstd with a window of terabytes": lambda: zstd(41),
  "zstd of 2^60 bytes": lambda: zstd_sized(1 << 60),
  "zstd with an endless skippable frame": lambda: b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + b"x" * 99,
  "a million skippable frames": lambda: b"\x50\x2a\x4d\x18\0\0\0\0" * 10**6,
  "zstd and garbage": lambda: zstandard.ZstdCompressor().compress(b"a text\n") + b"\x28\xb5\x2f\xfdgarbage",
  "xz with a dictionary of 4 GB": lambda: xz_with(40),
  "xz with a dictionary of 1.5 GB": lambda: xz_with(37),
  "xz, truncated": lambda: lzma.compress(b"a text\n" * 9999)[:-30],
  "xz and garbage": lambda: lzma.compress(b"a text\n") + b"\xfd7zXZ\x00garbage",
  "lzma of old": lambda: lzma.compress(b"a text\n" * 99, format=lzma.FORMAT_ALONE),
  "gzip with a name without end": lambda: gzip_named(b"n" * 10**7),
  "gzip with flags reserved": lambda: b"\x1f\x8b\x08\xff" + bytes(99),
  "gzip, truncated": lambda: gzip.compress(b"a text\n" * 9999)[:-9],
  "100,000 members of gzip": lambda: gzip.compress(b"a\n") * 100_000,
  "100,000 members of bzip2": lambda: bz2.compress(b"") * 100_000,
  "bzip2 and zeros": lambda: bz2.compress(b"a text\n") + bytes(1 << 24),
  "bzip2, a bomb": lambda: bz2.compress(b"a text\n" * (1 << 24)),
  "five layers": lambda: gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"a text\n"))))),
}  # fmt: skip

LETTERS = b"a" * 10**6
HTML = {
  "a deep nest": lambda: b"<html>" + b"<div>" * 400_000 + b"text",
  "a million attributes": lambda: b"<html><p " + b" ".join(b"a%d=1" % i for i in range(10**6)) + b">text",
  "an attribute without end": lambda: b"<html><p a='" + b"x>" * 5_000_000,
  "a quote of a million signs": lambda: b"<html><p a=" + b"'\"" * 10**6 + b">text",
  "unclosed tags": lambda: b"<html>" + b"<p" * 10**6,
  "unclosed comments": lambda: b"<html>" + b"<!--" * 400_000,
  "comments without end": lambda: b"<html>" + b"<!-- > --" * 400_000,
  "entities without end": lambda: b"<html>" + b"&" * 5_000_000,
  "an entity of a million letters": lambda: b"<html>&" + LETTERS + b";",
  "numbers as entities": lambda: b"<html>&#" + b"9" * 10**6 + b"; &#x" + b"f" * 10**6 + b"; &#xD800; &#0;",
  "many entities": lambda: b"<html>" + b"&#55296;" * 10**6,
  "blanks": lambda: b"<html>" + b" " * 20_000_000 + b"text" + b"\n\n \t" * 2_000_000 + b"text",
  "a doctype that is never closed": lambda: b"<!doctype html " + LETTERS * 20,
  "comments before the page": lambda: b"<!-- -->" * 8_000 + b"<html>text",
  "an xml prologue without end": lambda: b"<?xml " + LETTERS,
  "scripts in scripts": lambda: b"<html>" + b"<script></scrip><style></styl>" * 100_000,
  "names of tags without end": lambda: b"<html>" + (b"<" + LETTERS) * 20,
  "half of a surrogate pair": lambda: b"<html>&#xD800;text &#xDFFF;",
}  # fmt: skip

DIGITS = b"9" * 10**5
JSON = {
  "a number of 100,000 digits": lambda: b'{"text": ' + DIGITS + b"}\n" * 2,
  "another field of 100,000 digits": lambda: b'{"id": ' + DIGITS + b', "text": "a"}\n{"text": "b"}\n',
  "a fraction of a million digits": lambda: b'[{"id": 0.' + DIGITS * 10 + b', "text": "a"}]',
  "an exponent of 100,000 digits": lambda: b'{"id": 1e' + DIGITS + b', "text": "a"}\n{"text": "b"}\n',
  "half of a surrogate pair": lambda: b'{"text": "\\ud800"}\n{"text": "b"}\n',
  "a pair of surrogates the wrong way round": lambda: b'[{"text": "\\udc00\\ud800"}]',
  "half of a surrogate pair as a name": lambda: b'{"\\ud800": 1, "text": "a"}\n{"text": "b"}\n',
  "half of a surrogate pair as the only name": lambda: b'{"\\ud800": "x"}\n{"\\ud800": "x"}\n',
  "a surrogate in UTF-8": lambda: b'{"text": "\xed\xa0\x80"}\n' * 2,
  "NaN": lambda: b'{"text": NaN}\n{"text": Infinity}\n',
  "duplicate names": lambda: b'{"text": "a", "text": 3}\n' * 2,
  "a million duplicate names": lambda: b'{"text": "x"' + b', "text": "a"' * 10**6 + b"}",
  "a million names": lambda: json.dumps({f"name {i}": i for i in range(10**6)}).encode(),
  "a name of ten million letters": lambda: b'{"' + LETTERS * 10 + b'": "x"}\n{"a": 1}\n',
  "a deep nest in a field": lambda: b'{"text": "a", "b": ' + b"[" * 10**6 + b"]" * 10**6 + b"}\n",
  "a deep nest under the limit": lambda: b'{"text": "a", "b": ' + b"[" * 900 + b"]" * 900 + b'}\n{"text": "b"}\n',
  "many deep nests": lambda: b"[" + b'{"text": "a", "b": [[[[[[[[]]]]]]]]},' * 10**5 + b"{}]",
  "a million empty objects": lambda: b"[" + b"{}," * 10**6 + b"{}]",
  "lists of lists of lists": lambda: b"[" + b"[[],[],[]]," * 10**6 + b"[]]",
  "a million values without a list": lambda: b"{} " * 10**6,
  "a string that is never closed": lambda: b'[{"text": "' + LETTERS * 80,
  "escapes without end": lambda: b'[{"text": "' + b"\\u0041" * 10**7,
  "zero bytes in a string": lambda: b'{"text": "a\\u0000b"}\n' * 2,
  "text after the end": lambda: b'[{"text": "a"}] and more',
  "brackets in turn": lambda: b"[{" * 10**6,
  "commas": lambda: b"[" + b"," * 10**7,
  "a list of numbers": lambda: b"[" + b"1," * 10**7 + b"1]",
  "records without a text behind one": lambda: b'[{"text": "a"},' + b'{"b": 1},' * 10**5 + b"{}]",
  "lines of blanks": lambda: b'{"text": "a"}\n' + b" \n" * 5_000_000,
}  # fmt: skip

TABLES = {
  "a million columns": lambda: b"text" + b",c" * 10**6 + b"\n" + b"1" + b",2" * 10**6 + b"\n",
  "zero bytes": lambda: b"id,text\n1,a\n" * 9000 + b"2,\0b\n",
  "numbers of 100,000 digits": lambda: b"id,text\n" + DIGITS + b",a\n" + DIGITS + b",b\n",
  "formulas": lambda: b'id,text\n1,"=cmd|\'/c calc\'!A1"\n2,@SUM(1)\n',
  "names twice": lambda: b"text,text\na,b\n",
  "quotes without end": lambda: b"id,text\n" + b'"' * 10**7,
  "quotes in turn": lambda: b"id,text\n" + b'1,"a""' * 10**6 + b'"\n',
  "carriage returns alone": lambda: b"id,text\r1,a\r" * 10**6,
  "a header without end": lambda: b"text,\"" + LETTERS * 20,
  "empty rows": lambda: b"id,text\n" + b"\n" * 10**7,
  "rows of commas": lambda: b"id,text\n" + b"1,a\n" * 9 + b"," * 10**7,
}  # fmt: skip


def parquet_seed():
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  written = io.BytesIO()
  parquet.write_table(pyarrow.table({"id": [1, 2, 3], "text": ["one", "two", "three"]}), written)
  return written.getvalue()


def parquet_of(columns, **options):
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  written = io.BytesIO()
  parquet.write_table(pyarrow.table(columns), written, **options)
  return written.getvalue()


def with_footer(change):
  whole = parquet_seed()
  length = int.from_bytes(whole[-8:-4], "little")
  body, footer = whole[: -8 - length], whole[-8 - length : -8]
  footer = change(footer)
  return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def many_groups():
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  written, table = io.BytesIO(), pyarrow.table({"text": ["a"] * 20_000})
  parquet.write_table(table, written, row_group_size=1)
  return written.getvalue()


PLAIN = {"compression": "zstd", "use_dictionary": False}
PARQUET = {
  "a truncated footer": lambda: parquet_seed()[:-20],
  "no footer": lambda: b"PAR1" + b"x" * 9999,
  "a footer longer than the file": lambda: parquet_seed()[:-8] + b"\xff\xff\xff\x7fPAR1",
  "a footer of zero bytes": lambda: with_footer(lambda footer: b""),
  "a footer of lists": lambda: with_footer(lambda footer: b"\x19\xfc\xff\xff\xff\xff\x0f" * 999),
  "a footer that nests": lambda: with_footer(lambda footer: b"\x1c" * 10**6),
  "an endless schema": lambda: with_footer(
    lambda footer: footer[:2] + b"\x19\xfc\xff\xff\xff\xff\x07" + footer[4:]
  ),
  "many row groups": many_groups,
  "encrypted": lambda: parquet_seed()[:-4] + b"PARE",
  "encrypted wholly": lambda: b"PARE" + parquet_seed()[4:-4] + b"PARE",
  "text of whole numbers": lambda: parquet_of({"text": [1, 2, 3]}),
  "text of lists": lambda: parquet_of({"text": [["a"], [], ["b"]]}),
  "text of structures": lambda: parquet_of({"text": [{"a": "b"}] * 3}),
  "text of bytes that are no UTF-8": lambda: parquet_of({"text": [b"\xff\xfe", b"a"]}),
  "nothing but null": lambda: parquet_of({"text": [None] * 9}),
  "10,000 columns": lambda: parquet_of({f"c{i}": [1] for i in range(10_000)}),
  "names twice": lambda: parquet_twice(),
  "a dictionary that repeats": lambda: parquet_of({"text": ["x" * 10**6] * 2000}),
  "a bomb of zstd": lambda: parquet_of(
    {"text": ["x" * 10**6 + str(i) for i in range(300)]}, compression="zstd", use_dictionary=False
  ),
  "one text of 200 MB": lambda: parquet_of(
    {"text": ["word " * 40_000_000]}, compression="zstd", use_dictionary=False
  ),
}


def parquet_twice():
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  written = io.BytesIO()
  parquet.write_table(
    pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], ["text", "text"]), written
  )
  return written.getvalue()


def arrow_of(columns, keep=None, replaced=None, **options):
  pyarrow = pytest.importorskip("pyarrow")
  written, table = io.BytesIO(), pyarrow.table(columns)
  with pyarrow.ipc.new_stream(
    written, table.schema, options=pyarrow.ipc.IpcWriteOptions(**options)
  ) as writer:
    writer.write_table(table)
  content = written.getvalue()[:keep]
  return content.replace(*replaced) if replaced else content


def dictionary_of(text):
  pyarrow = pytest.importorskip("pyarrow")
  return pyarrow.array([text] * 2000).dictionary_encode()


ARROW = {
  "without an end mark": lambda: arrow_of({"text": ["one", "two"]}, keep=-8),
  "half of a batch": lambda: arrow_of({"text": ["one", "two"]}, keep=-30),
  "a schema alone": lambda: arrow_of({"text": ["one", "two"]}, keep=200),
  "a schema of 15 MB": lambda: b"\xff\xff\xff\xff\xff\xff\xff\0\x10\0\0\0" + bytes(99),
  "a file of zero bytes": lambda: b"ARROW1" + bytes(999),
  "offsets beyond the text": lambda: arrow_of(
    {"text": ["one", "two"]}, replaced=(struct.pack("<iii", 0, 3, 6), struct.pack("<iii", 0, 3, 1 << 30))
  ),
  "offsets below zero": lambda: arrow_of(
    {"text": ["one", "two"]}, replaced=(struct.pack("<iii", 0, 3, 6), struct.pack("<iii", 0, -(1 << 30), 6))
  ),
  "text of whole numbers": lambda: arrow_of({"text": [1, 2, 3]}),
  "nothing but null": lambda: arrow_of({"text": [None] * 9}),
  "a dictionary that repeats": lambda: arrow_of({"text": dictionary_of("x" * 10**6)}),
  "a bomb of zstd": lambda: arrow_of({"text": ["x" * 10**6] * 900}, compression="zstd"),
  "a length of 2^60 bytes": lambda: arrow_of(
    {"text": ["x" * 600_001]},
    compression="zstd",
    replaced=(struct.pack("<q", 600_001), struct.pack("<q", 1 << 60)),
  ),
}


REFUSED = {  # what some of the sentences say
  "zstd with a window of 4 GB": "needs too much memory",
  "xz with a dictionary of 4 GB": "needs too much memory",
  "a million skippable frames": "members that are almost empty",
  "five layers": "compressed more than 4 times",
  "empty rows": "100,000 blank lines in a row",
  "a dictionary that repeats": "more than 200 times its size",
  "encrypted wholly": "an encrypted parquet file",
  "encrypted": "encrypted",
  "without an end mark": "truncated",
  "half of a batch": "cannot be read",
  "offsets beyond the text": "cannot be read",
  "offsets below zero": "cannot be read",
  "a length of 2^60 bytes": "more than 200 times its size",
}
KINDS = {
  "a.gz": COMPRESSED,
  "a.html": HTML,
  "a.json": JSON,
  "a.jsonl": JSON,
  "a.csv": TABLES,
  "a.parquet": PARQUET,
  "a.arrow": ARROW,
}
EVERY = [(name, key) for name, contents in KINDS.items() for key in contents]
LARGE = re.compile("million|end|never closed|bomb|blanks|quotes in turn|repeats|200 MB|many|lists of lists")


def is_large(key):
  """Returns whether a file takes longer than a test of this suite may."""
  return bool(LARGE.search(key))


def check(path, key):
  content = KINDS[path.name][key]()
  path.write_bytes(content)
  sentence = hostile.outcome(lambda: read(path), len(content))
  assert REFUSED.get(key, "") in sentence, sentence


@pytest.mark.parametrize(("name", "key"), [case for case in EVERY if not is_large(case[1])])
def test_a_hostile_file_is_read_or_is_one_sentence(tmp_path, name, key):
  check(tmp_path / name, key)


def test_a_large_hostile_file_is_read_or_is_one_sentence(fuzz, tmp_path):
  large = [case for case in EVERY if is_large(case[1])]
  for name, key in fuzz.cases(lambda rng: rng.sample(large, len(large))):
    check(tmp_path / name, key)
