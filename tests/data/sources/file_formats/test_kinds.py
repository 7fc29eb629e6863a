"""A file is what it holds: every kind is found by its bytes, and what holds no text is named."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import time
import zipfile

import numpy as np
import pytest
import zstandard

from gen.config import Data
from gen.data import corpus
from gen.data.sources import source as source_module
from gen.data.sources.file_formats import files, html_text, records
from gen.data.sources.file_formats.notes import Notes
from gen.errors import UserError

TEXTS = [f"Text {i}: «ünï», 😀 and a comma.\nIts second line." for i in range(7)]
RECORDS = [{"id": i, "text": text, "url": f"x/{i}"} for i, text in enumerate(TEXTS)]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def read(path, field="text", forced=None, notes=None):
  return [
    document.text for document in files.read_documents(files.find_files(str(path)), field, forced, notes)
  ]


def table(delimiter, names=("id", "text", "url"), end="\r\n"):
  written = io.StringIO()
  writer = csv.writer(written, delimiter=delimiter, lineterminator=end)
  writer.writerows([names, *(record.values() for record in RECORDS)])
  return written.getvalue().encode()


HOLDS_RECORDS = {
  "a.json": LINES,
  "a.txt": LINES,
  "a": LINES,
  "crlf.txt": LINES.replace(b"\n", b"\r\n"),
  "list.json": json.dumps(RECORDS).encode(),
  "list.txt": json.dumps(RECORDS, indent=2).encode(),
  "object.json": json.dumps({"version": "1", "size": [7], "data": RECORDS}).encode(),
  "object.jsonl.txt": json.dumps({"data": RECORDS}, indent=1).encode(),
  "several.json": "\n".join(json.dumps(record, indent=2) for record in RECORDS).encode(),
  "texts.json": json.dumps(TEXTS).encode(),
  "column.json": json.dumps({"text": TEXTS}).encode(),
  "a.csv": table(","),
  "b.csv": table(";", end="\n"),
  "a.tsv": table("\t"),
  "csv.txt": table(","),
  "one.csv": b"text\r\n" + b"".join(b'"' + text.encode() + b'"\r\n' for text in TEXTS),
  "mark.csv": codecs.BOM_UTF8 + table(","),
  "mark.jsonl": codecs.BOM_UTF8 + LINES,
  "sixteen.jsonl": LINES.decode().encode("utf-16"),
  "sixteen.csv": table(",").decode().encode("utf-16"),
  "unmarked.jsonl": LINES.decode().encode("utf-16-le"),
  "thirty-two.json": json.dumps(RECORDS).encode("utf-32"),
}


@pytest.mark.parametrize("name", HOLDS_RECORDS)
def test_records_are_found_under_any_name(tmp_path, name):
  (tmp_path / name).write_bytes(HOLDS_RECORDS[name])
  assert read(tmp_path / name) == TEXTS
  (tmp_path / f"more-{name}.gz").write_bytes(gzip.compress(HOLDS_RECORDS[name]))
  assert read(tmp_path) == TEXTS * 2


PROSE = {
  "list.txt": "[Illustration]\n\nChapter 1, in which\n",
  "note.txt": "[1] A footnote.\n{braces} follow.\n",
  "comma.txt": "The text, the body, and the rest\nare three, or four, things.\nNo more.\n",
  "mention.md": "text, content\n\nAre words, and, well, others.\n",
  "python.py": '{"a", "b"}\nprint([1, 2])\n',
  "code.c": "int f(int a) { return a; }\n",
  "tag.txt": "<3 is a heart, <b>bold</b> is not a page\n",
  "plain.json": "no JSON at all\n",
  "quote.txt": '"Quoted," she said.\n',
  "not-gzip.gz": "plain text under a wrong name\n",
  "control.txt": "a\tb\x0cnew page\x1b[1mbold\x1b[0m\n",
  "MZ.txt": "MZ is what programs begin with, and this is a text that does so too, at some length.\n",
  "BZh9.txt": "BZh91 is no archive\n",
}


@pytest.mark.parametrize("name", PROSE)
def test_prose_stays_prose(tmp_path, name):
  (tmp_path / name).write_text(PROSE[name])
  (tmp_path / "other.txt").write_text("x")
  assert PROSE[name] in read(tmp_path)


LAYERS = {
  "gzip": gzip.compress,
  "xz": lzma.compress,
  "bzip2": bz2.compress,
  "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("outer", LAYERS)
@pytest.mark.parametrize("inner", LAYERS)
def test_layers_of_compression_come_off_whatever_the_name(tmp_path, outer, inner):
  (tmp_path / "c4-train.00000.json.gz").write_bytes(LAYERS[outer](LAYERS[inner](LINES)))
  assert read(tmp_path) == TEXTS


def test_a_corpus_says_how_its_files_were_read_even_from_the_cache(tmp_path):
  (tmp_path / "shards").mkdir()
  for number in range(3):
    lines = "".join(json.dumps({"content": f"{number} {i}", "title": "t"}) + "\n" for i in range(4 + number))
    (tmp_path / f"shards/{number}.json.gz").write_bytes(gzip.compress(lines.encode()))
  (tmp_path / "shards/table.txt").write_bytes(table(","))
  data, said = Data(corpus=str(tmp_path / "shards"), cache=str(tmp_path / "cache")), []
  for _ in range(2):
    assert corpus.build_corpus(data, said.append).documents == 4 + 5 + 6 + 7
  assert said[1:3] == said[4:6] == [
    "0.json.gz and 2 more: read as JSON lines, the field 'content'",
    "table.txt: read as a table, the field 'text'",
  ]  # fmt: skip


def test_the_field_is_the_first_of_the_known_names():
  assert records.choose_field(["body", "content", "id"], "text") == "content"
  assert records.choose_field(["Body", "id"], "text") == "Body"
  assert records.choose_field(["body", "id"], "id") == "id"
  assert records.choose_field(["body", "id"], "title") is None
  assert records.choose_field(["name", "id"], "text") is None


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("a.csv", "id,title\n1,one\n2,two\n"),
    ("a.json", '{"id": 1, "title": "one"}\n{"id": 2, "title": "two"}\n'),
    ("b.json", '[{"id": 1, "title": "one"}]'),
    ("c.json", '{"rows": [{"id": 1, "title": "one"}]}'),
  ],
)
def test_records_without_a_known_field_list_their_fields(tmp_path, name, content):
  (tmp_path / name).write_text(content)
  with pytest.raises(
    UserError, match=r"no field 'text'; the nearest is --config\.data\.field=\w+ .*id, title"
  ):
    read(tmp_path / name)
  assert read(tmp_path / name, "title")[0] == "one"


def test_a_scheme_overrules_what_a_file_holds(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a.json").write_bytes(LINES)
  (tmp_path / "b.log").write_text("id|text\n1|one\n2|two\n")
  (tmp_path / "c.txt").write_text("Words. <p>A page</p>")
  got = {
    scheme: [document.text for document in source_module.read_documents(Data(corpus=f"{scheme}:{name}"))]
    for scheme, name in (("text", "a.json"), ("jsonl", "a.json"), ("csv", "b.log"), ("html", "c.txt"))
  }
  assert "".join(got["text"]) == LINES.decode() and got["jsonl"] == TEXTS
  assert got["csv"] == ["one", "two"]
  assert "".join(got["html"]) == "Words.\n\nA page\n"
  prints = [
    source_module.find_source(Data(corpus=name)).fingerprint
    for name in ("a.json", "text:a.json", "jsonl:a.json")
  ]
  assert prints[0] != prints[1] != prints[2]


def test_a_page_is_its_visible_text():
  page = """<?xml version="1.0"?><!-- a --><!DOCTYPE html><html><head><title>T</title><style>p{}</style></head>
  <body><h1>One&nbsp;&amp; two</h1><p>a <b>bold</b>
  word<br>next<script>if (a < b) "<p>no</p>";</script><ul><li>x<li>y</ul>3 < 4 <!-- gone --></body></html>"""
  assert html_text.visible_text(page) == "One & two\n\na bold word\n\nnext\n\nx\n\ny\n\n3 < 4\n"


@pytest.mark.parametrize("hostile", ["<!--", "<script>", "<p", "<", "</script", "&", '<a b="'])
def test_a_broken_page_takes_linear_time(hostile):
  def seconds(count):
    begun = time.process_time()
    html_text.visible_text("<html>" + hostile * count)
    return time.process_time() - begun

  # Ten times the page in about ten times the time; a search that begins anew at each tag would take a hundred.
  assert seconds(90_000) < 30 * seconds(9_000) + 0.1


def test_pages_are_found_by_their_first_tag(tmp_path):
  (tmp_path / "a.txt").write_text("\n<!DOCTYPE HTML>\n<html><body><p>seen</p></body>")
  (tmp_path / "b.htm").write_text("<div>seen too</div>")
  assert read(tmp_path) == ["seen\n", "seen too\n"]


def test_a_mark_at_the_beginning_is_no_text(tmp_path):
  (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF8 + b"one")
  (tmp_path / "b.txt").write_text("zwei", encoding="utf-16")
  (tmp_path / "c.txt").write_text("drei", encoding="utf-32")
  assert read(tmp_path) == ["one", "zwei", "drei"]


def test_parquet_is_read_under_any_name(tmp_path):
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  parquet.write_table(pyarrow.table({"id": range(7), "text": TEXTS}), tmp_path / "shard.bin")
  notes = Notes()
  assert read(tmp_path / "shard.bin", notes=notes) == TEXTS
  assert notes.lines() == ["shard.bin: read as parquet, the field 'text'"]
  whole = (tmp_path / "shard.bin").read_bytes()
  (tmp_path / "shard.bin").write_bytes(whole[:-20])
  with pytest.raises(UserError, match="the parquet file cannot be read"):
    read(tmp_path / "shard.bin")


def test_parquet_without_its_reader_names_it(tmp_path, monkeypatch):
  (tmp_path / "a.parquet").write_bytes(b"PAR1" + bytes(40))
  monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
  with pytest.raises(UserError, match="uv pip install pyarrow"):
    read(tmp_path / "a.parquet")


def archive(path, items, mode="w:gz"):
  with tarfile.open(path, mode) as written:
    for name, content, kind in items:
      info = tarfile.TarInfo(name)
      info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
      written.addfile(info, io.BytesIO(content))


def test_members_of_archives_are_files_of_their_own(tmp_path):
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as written:
    for name, content in (("b/c.jsonl", LINES), ("a.txt", b"one"), ("d.txt.gz", gzip.compress(b"two")),
                          ("__MACOSX/x", b"\0"), ("b/.hidden", b"\0")):  # fmt: skip
      written.writestr(name, content)
  archive(tmp_path / "b.tar.gz", [("./a.txt", b"three", tarfile.REGTYPE), ("link", b"", tarfile.SYMTYPE),
                                  ("pipe", b"", tarfile.FIFOTYPE), ("b.csv", table(","), tarfile.REGTYPE)])  # fmt: skip
  notes = Notes()
  assert read(tmp_path, notes=notes) == ["one", *TEXTS, "two", "three", *TEXTS]
  assert [line.rpartition(": ")[2][:4] for line in notes.lines() if "warning" in line] == ["link", "pipe"]


@pytest.mark.parametrize("suffix", ["zip", "tar.xz"])
def test_a_text_that_is_alone_in_an_archive_is_cut_into_blocks(tmp_path, suffix):
  text = "".join(f"Sentence {i}.\n" for i in range(900))
  if suffix == "zip":
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as written:
      written.writestr("a.txt", text)
  else:
    archive(tmp_path / "a.tar.xz", [("a.txt", text.encode(), tarfile.REGTYPE)], "w:xz")
  got = read(tmp_path / f"a.{suffix}")
  assert len(got) > 10 and "".join(got) == text


def database(path):
  with sqlite3.connect(path) as connection:
    connection.execute("create table a (text)")


def checkpoint(path):
  with zipfile.ZipFile(path, "w") as written:
    written.writestr("archive/data.pkl", b"\x80\x02}")


HEADER = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
REFUSED = {
  "an image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(30),
  "a PDF document, not text; extract": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
  "a safetensors file, .*import_checkpoint": len(HEADER).to_bytes(8, "little") + HEADER + bytes(4),
  "a program": b"\x7fELF\x02\x01\x01" + bytes(60),
  "a NumPy array": lambda path: np.save(path, np.zeros(3)),
  "NumPy arrays": lambda path: np.savez(path, a=np.zeros(3)),
  "an SQLite database": database,
  "a PyTorch checkpoint": checkpoint,
  "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(60),
  "a Python pickle": b"\x80\x04\x95\x1d" + bytes(60),
  "an archive of another kind": b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(60),
  "sound or video": b"ID3\x03" + bytes(60),
  "binary data": np.random.default_rng(0).bytes(5000),
  r"not UTF-8: byte 0xe9 at offset 3 .*iconv": "café au lait, s'il vous plaît\n".encode("latin-1"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", ["a.txt", "a.npy", "a.npz"])
def test_what_holds_no_text_is_named(tmp_path, what, name):
  content = REFUSED[what]
  if callable(content):
    if name == "a.txt" or ("NumPy" in what and ("arrays" in what) != (name == "a.npz")):
      return
    content(tmp_path / name)
  else:
    (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=what) as raised:
    read(tmp_path / name)
  assert "\n" not in str(raised.value) and name in str(raised.value)


def test_a_folder_of_many_kinds_is_read_file_by_file(tmp_path):
  (tmp_path / "a.txt").write_text("prose")
  (tmp_path / "b").write_bytes(lzma.compress(LINES))
  (tmp_path / "c.data").write_bytes(table(","))
  assert read(tmp_path) == ["prose", *TEXTS, *TEXTS]
  assert read(tmp_path / "[ab]*") == ["prose", *TEXTS]


def test_what_a_file_holds_is_part_of_what_identifies_a_corpus(tmp_path):
  (tmp_path / "a.txt").write_bytes(LINES)
  assert files.kinds_of(files.find_files(str(tmp_path))) == [["a.txt", "jsonl", "utf-8", ","]]
