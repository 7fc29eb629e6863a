"""Files that attack: each is one sentence, soon, in bounded memory."""

import gzip
import io
import json
import lzma
import os
import resource
import struct
import tarfile
import time
import zipfile
import zlib

import pytest
import zstandard

from gen.config import Data, Run, config_hash, identity_fields
from gen.data.sources import source
from gen.data.sources.file_formats import compressed, files, json_stream, kinds, records, text_blocks
from gen.data.sources.file_formats.notes import Notes
from gen.errors import UserError

SECONDS = 20  # a loaded machine has its bad moments; a quiet one takes 3


def read(path, field="text"):
  return sum(1 for _ in files.read_documents(files.find_files(str(path)), field))


def refused(path, says):
  begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with pytest.raises(UserError, match=says) as raised:
    read(path)
  assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
  assert time.process_time() - begin < SECONDS
  assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB: 1 GiB


def zlib_bomb(unit, count):
  engine = zlib.compressobj(9, wbits=31)
  return b"".join(engine.compress(unit) for _ in range(count)) + engine.flush()


def zstd_bomb(unit, count):
  engine = zstandard.ZstdCompressor().compressobj()
  return b"".join(engine.compress(unit) for _ in range(count)) + engine.flush()


LINE = b"a text\n" * (1 << 17)
BOMBS = {
  "gzip": lambda: zlib_bomb(LINE, 60),
  "records": lambda: zlib_bomb(b'{"text": "abc"}' + b" " * 999 + b"\n", 60_000),
  "zstd": lambda: zstd_bomb(LINE, 300),
  "xz": lambda: lzma.compress(LINE * 60),
  "twice": lambda: gzip.compress(zlib_bomb(LINE, 60)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_before_it_has_expanded(tmp_path, kind):
  (tmp_path / "a.txt").write_bytes(BOMBS[kind]())
  refused(tmp_path / "a.txt", "more than 200 times its size")


def test_a_zip_bomb_is_refused_by_what_it_lists(tmp_path):
  with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as written:
    written.writestr("a.txt", LINE * 60)
  refused(tmp_path / "a.zip", "more than 200 times its size")


def test_a_tar_bomb_is_refused_while_it_is_read(tmp_path):
  written = io.BytesIO()
  with tarfile.open(fileobj=written, mode="w") as archive:
    info = tarfile.TarInfo("a.txt")
    info.size = len(LINE) * 60
    archive.addfile(info, io.BytesIO(LINE * 60))
  (tmp_path / "a.tar.gz").write_bytes(gzip.compress(written.getvalue()))
  refused(tmp_path / "a.tar.gz", "more than 200 times its size")


def test_text_that_repeats_itself_is_no_bomb(tmp_path):
  (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"the same line again\n" * 100_000))
  assert read(tmp_path / "a.txt.gz") > 20


def test_xz_may_not_ask_for_all_memory(tmp_path):
  filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 768 << 20}]
  whole = bytearray(lzma.compress(b"a text\n" * 100, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}]))
  assert filters and whole[12:16]  # the block's header: size, flags, filter, size of its properties
  whole[16] = 38  # a dictionary of 1 GiB
  whole[20:24] = struct.pack("<I", zlib.crc32(bytes(whole[12:20])))
  (tmp_path / "a.xz").write_bytes(bytes(whole))
  refused(tmp_path / "a.xz", "a.xz: decompressing it needs too much memory")


@pytest.mark.parametrize(
  ("name", "says"),
  [("../a.txt", "outside of it"), ("/etc/a.txt", "outside of it"), ("b/../../a.txt", "outside of it"),
   ("C:\\a.txt", "outside of it"), ("..\\a.txt", "outside of it")],
)  # fmt: skip
def test_an_archive_cannot_name_a_path_outside_of_it(tmp_path, name, says):
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as written:
    written.writestr(name, "x")
  refused(tmp_path / "a.zip", says)
  with tarfile.open(tmp_path / "a.tar", "w") as archive:
    archive.addfile(tarfile.TarInfo(name))
  refused(tmp_path / "a.tar", says)


def test_a_list_of_members_without_end_is_refused_unread(tmp_path):
  whole = bytearray(zipfile_of({"a.txt": "x"}))
  at = whole.rfind(b"PK\x05\x06")
  whole[at + 12 : at + 16] = struct.pack("<I", 1 << 30)
  (tmp_path / "a.zip").write_bytes(bytes(whole))
  refused(tmp_path / "a.zip", "lists too many files")


def zipfile_of(members):
  written = io.BytesIO()
  with zipfile.ZipFile(written, "w") as archive:
    for name, content in members.items():
      archive.writestr(name, content)
  return written.getvalue()


def test_archives_within_archives_are_left_to_the_user(tmp_path):
  (tmp_path / "a.zip").write_bytes(zipfile_of({"b.zip": zipfile_of({"c.txt": "x"})}))
  refused(tmp_path / "a.zip", "b.zip: it is a zip file inside an archive; unpack it first")


@pytest.mark.parametrize("cut", [0.3, 0.9, 0.999])
def test_a_cut_archive_is_damaged(tmp_path, cut):
  whole = zipfile_of({"a.txt": "x" * 9000})
  (tmp_path / "a.zip").write_bytes(whole[: int(len(whole) * cut)])
  refused(tmp_path / "a.zip", "damaged")


DEEP = {
  "a.json": b"[" * 300_000,
  "b.json": b'{"a":' * 300_000,
  "c.jsonl": b"[" * 300_000,
  "d.json": b'{"data": [' + b"[" * 300_000,
  "e.txt": b'{"a": 1}\n' + b'{"a":' * 300_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_json_of_any_depth_is_one_sentence(tmp_path, name):
  (tmp_path / name).write_bytes(DEEP[name])
  refused(tmp_path / name, "nested too deeply|no field 'text'")


def test_lists_without_end_are_refused(tmp_path):
  with pytest.raises(UserError, match="millions of lists"):
    json_stream.check_weight(b"[{}," * (3 << 20), "a.jsonl:1")
  (tmp_path / "a.jsonl").write_bytes(b'{"a": [' + b"{}," * (3 << 20) + b"{}]}\n")
  refused(tmp_path / "a.jsonl", "millions of lists")


def test_a_line_longer_than_a_record_may_be_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(kinds, "MAX_RECORD", 1 << 20)
  (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"word " * 300_000 + b'"}\n')
  refused(tmp_path / "a.jsonl", r"a\.jsonl:1: a line has more than 1 MiB")


def test_a_list_longer_than_a_value_may_be_is_streamed(tmp_path, monkeypatch):
  monkeypatch.setattr(json_stream, "MAX_TEXT", 1 << 20)
  texts = [f"text {i}" for i in range(70_000)]
  whole = {"version": 1, "names": ["a"], "data": [{"text": text, "id": 3} for text in texts], "end": {}}
  (tmp_path / "a.json").write_text(json.dumps(whole))
  assert [
    document.text for document in files.read_documents(files.find_files(str(tmp_path)), "text")
  ] == texts
  (tmp_path / "a.json").write_text(json.dumps({"a": "x" * (3 << 20)}))
  refused(tmp_path / "a.json", "no field 'text'")


TABLES = {
  "more than 10,000 fields": ",".join(f"c{i}" for i in range(10**6)) + "\n" + "1," * 10**6 + "\n",
  r"a\.csv:3: 3 fields, but the first row names 2": "id,text\n1,one\n2,two,three\n",
  r"a\.csv:2: more than 1,000,000 fields": "id,text\n" + "," * 3_000_000 + "\n",
}


@pytest.mark.parametrize("says", TABLES)
def test_a_table_that_is_none_is_one_sentence(tmp_path, says):
  (tmp_path / "a.csv").write_text(TABLES[says])
  refused(tmp_path / "a.csv", says)


def test_a_quote_that_is_never_closed_is_one_sentence(tmp_path, monkeypatch):
  monkeypatch.setattr(kinds, "MAX_RECORD", 1 << 20)
  (tmp_path / "a.csv").write_text('id,text\n1,"' + "word, word\n" * 300_000)
  refused(tmp_path / "a.csv", "not a table of fields: a field has more than 1,048,576 characters")


def test_bytes_after_the_end_of_gzip_are_left_out_with_a_warning(tmp_path):
  path = tmp_path / "a.txt.gz"
  path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n") + b"\0\0 and garbage")
  notes = Notes()
  got = "".join(
    document.text for document in files.read_documents(files.find_files(str(path)), "text", None, notes)
  )
  assert got == "one\ntwo\n"
  assert notes.lines() == [f"warning: {path}: bytes after the end of the gzip data are ignored"]
  path.write_bytes(gzip.compress(b"one\n") + bytes(512))
  notes = Notes()
  assert (
    len(list(files.read_documents(files.find_files(str(path)), "text", None, notes))) and not notes.lines()
  )


def test_a_damaged_checksum_is_one_sentence(tmp_path):
  whole = bytearray(gzip.compress(b"one\n" * 100))
  whole[-6] ^= 1
  (tmp_path / "a.gz").write_bytes(bytes(whole))
  refused(tmp_path / "a.gz", "damaged")


def test_a_quote_that_spans_lines_without_end_is_one_sentence(tmp_path):
  (tmp_path / "a.csv").write_text('id,text\n1,"' + "x\n" * 3_000_000)
  refused(tmp_path / "a.csv", "never closed")


def test_a_page_of_tags_without_end_is_refused(tmp_path):
  (tmp_path / "a.html").write_text("<html>" + "<script>" * 3_000_000)
  refused(tmp_path / "a.html", "tags")


def test_what_is_no_file_of_the_users_is_refused_unread(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  (tmp_path / "link.txt").symlink_to("/proc/self/environ")
  with (tmp_path / "sparse.txt").open("wb") as stream:
    stream.truncate(1 << 40)
  for path, says in ((tmp_path / "pipe", "a pipe"), (tmp_path / "link.txt", "of the system"),
                     (tmp_path / "sparse.txt", "binary data"), ("/dev/zero", "a device"), ("/proc", "of the system"),
                     ("/proc/cpuinfo", "of the system"), ("/", "of the system"), ("a\0b", "no such"),
                     ("x" * 5000, "too long|no such")):  # fmt: skip
    with pytest.raises(UserError, match=says):
      read(path)


def test_a_text_too_long_for_one_document_is_cut_as_a_lone_one_is(tmp_path, monkeypatch):
  text = "".join(f"line {i}\n" + "\n" * (i % 9 == 0) for i in range(300_000))
  (tmp_path / "a.txt").write_text(text)
  (tmp_path / "b.txt").write_text("short")
  monkeypatch.setattr(files, "MAX_TEXT", 1 << 20)
  got = [document.text for document in files.read_documents(files.find_files(str(tmp_path)), "text")]
  assert got == [*text_blocks.split_blocks(text), "short"]


def test_a_warning_is_kept_once():
  notes = Notes()
  for number in range(1000):
    notes.warn(f"warning {number % 40}")
  assert len(notes.lines()) == 20


def test_the_bounds_stand():
  assert compressed.FREE_BYTES < compressed.MAX_DICTIONARY and records.DEFAULT_FIELD in kinds.FIELDS


def test_members_of_objects_count_as_memory_and_quoted_names_do_not():
  assert json_stream._weight('{"a": 1}') - json_stream._weight("{}") >= 400
  assert json_stream._weight(json.dumps('{"a": 1}')) == json_stream._weight('"{}"')


def test_a_file_may_expand_only_to_the_bytes_that_its_run_allows(tmp_path):
  text = "".join(f"line {i}\n" for i in range(9000))
  members = {"a.txt": text[:40_000], "b.txt.gz": gzip.compress(text[40_000:].encode())}
  tarred = io.BytesIO()
  with tarfile.open(fileobj=tarred, mode="w") as archive:
    for name, content in members.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content if isinstance(content, bytes) else content.encode()))
  packed = {
    "a.gz": gzip.compress(text.encode()),
    "a.zip": zipfile_of(members),
    "a.tar.gz": gzip.compress(tarred.getvalue()),
  }
  for name, content in {**packed, "a.txt": text.encode()}.items():
    (tmp_path / name).write_bytes(content)

    def documents(max_bytes, name=name):
      found = list(source.read_documents(Data(corpus=str(tmp_path / name), max_bytes=max_bytes)))
      return "".join(document.text for document in found)

    assert documents(400_000) == documents(0) == text
    if name == "a.txt":
      assert documents(50_000) == text
      continue
    with pytest.raises(
      UserError, match=r"more than 50,000 bytes, the limit of data\.max_bytes; set --config"
    ):
      documents(50_000)


def test_the_bytes_that_a_file_may_expand_to_are_no_part_of_a_run():
  run = Run(data=Data(max_bytes=5))
  assert config_hash(run) == config_hash(Run()) and "max_bytes" not in identity_fields(run)["data"]


def test_a_long_list_of_other_things_than_texts_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(json_stream, "MAX_TEXT", 1 << 20)
  assert records.MAX_OTHERS == 500_000
  for count, says in ((500_000, "no field 'text'"), (500_001, "a record of more than")):
    (tmp_path / "a.json").write_text(json.dumps({"numbers": [1] * count}))
    refused(tmp_path / "a.json", says)
