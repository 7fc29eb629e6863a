import bz2
import gzip
import json
import lzma

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gen.data.sources.file_formats import files, text_blocks
from gen.errors import UserError

SMALL = "Ein Satz.\r\nZwei Sätze — 三つ.\n\n"
OPEN = {
  "": lambda data: data,
  ".gz": gzip.compress,
  ".xz": lzma.compress,
  ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
  ".bz2": bz2.compress,
}


def texts(pattern, field="text", forced=None):
  return {
    document.name: document.text
    for document in files.read_documents(files.find_files(str(pattern)), field, forced)
  }


@pytest.mark.parametrize("suffix", OPEN)
def test_text_is_read_as_it_stands_however_it_is_compressed(tmp_path, suffix):
  (tmp_path / f"a.txt{suffix}").write_bytes(OPEN[suffix](SMALL.encode()))
  (tmp_path / f"b.txt{suffix}").write_bytes(OPEN[suffix](b"another"))
  assert texts(tmp_path) == {f"a.txt{suffix}": SMALL, f"b.txt{suffix}": "another"}


@pytest.mark.parametrize("suffix", OPEN)
def test_records_are_read_however_they_are_compressed(tmp_path, suffix):
  lines = "".join(json.dumps({"id": i, "body": SMALL * i}) + "\n" for i in range(3)) + "\n"
  path = tmp_path / f"set.jsonl{suffix}"
  path.write_bytes(OPEN[suffix](lines.encode()))
  expected = {f"{path.name}:{i + 1}": SMALL * i for i in range(3)}
  assert texts(path, "body") == expected


def test_several_zstandard_frames_are_one_text(tmp_path):
  compress = zstandard.ZstdCompressor().compress
  (tmp_path / "a.txt.zst").write_bytes(compress(b"one ") + compress(b"two"))
  (tmp_path / "b.txt").write_text("x")
  assert texts(tmp_path)["a.txt.zst"] == "one two"


def test_any_suffix_may_hold_records_when_told_so(tmp_path):
  (tmp_path / "set.log").write_text('\ufeff{"text": "first"}\n\n{"text": "second"}')
  assert texts(tmp_path / "set.log", forced="jsonl") == {"set.log:1": "first", "set.log:3": "second"}


def test_folders_and_globs_find_files_in_order_without_hidden_ones(tmp_path):
  for name in ("b/2.txt", "b/1.txt", "a.txt", ".hidden/x.txt", "b/.y.txt", "c.md"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(name)
  assert list(texts(tmp_path)) == ["a.txt", "b/1.txt", "b/2.txt", "c.md"]
  assert list(texts(tmp_path / "**" / "*.txt")) == ["a.txt", "b/1.txt", "b/2.txt"]
  assert {name.partition("#")[0] for name in texts(tmp_path / "b" / "[2-9].txt")} == {"2.txt"}


def test_names_do_not_depend_on_where_the_whole_lies(tmp_path, monkeypatch):
  (tmp_path / "b").mkdir()
  for name in ("b/2.txt", "a.txt"):
    (tmp_path / name).write_text(name)
  absolute = texts(tmp_path / "**" / "*.txt")
  monkeypatch.chdir(tmp_path)
  assert texts("**/*.txt") == absolute == texts(".")


@given(st.text(alphabet=st.sampled_from("ab \n\u2028é"), max_size=4000))
def test_blocks_joined_are_the_text(text):
  found = list(text_blocks.split_blocks(text))
  assert "".join(found) == text
  assert all(found)
  assert len(text) < 3 or len(found) > 1


def test_blocks_end_at_blank_lines_where_there_are_any():
  text = "".join(f"paragraph {i}\nof two lines\n\n" for i in range(20_000))
  found = list(text_blocks.split_blocks(text))
  assert 200 <= len(found) <= 400
  assert all(block.endswith("\n\n") for block in found)


@pytest.mark.parametrize("missing", ["no.txt", "no/*.txt", "*.none"])
def test_what_is_not_there_is_the_users_to_mend(tmp_path, missing):
  with pytest.raises(UserError, match=r"no such file or folder|no file matches"):
    files.find_files(str(tmp_path / missing))


def test_an_empty_folder_is_the_users_to_mend(tmp_path):
  with pytest.raises(UserError, match="has no files"):
    files.find_files(str(tmp_path))
  (tmp_path / ".hidden").touch()
  with pytest.raises(UserError, match="hidden"):
    files.find_files(str(tmp_path))


@pytest.mark.parametrize("suffix", OPEN)
def test_bytes_that_are_not_utf8_are_named_by_file_and_offset(tmp_path, suffix):
  path = tmp_path / f"a.txt{suffix}"
  path.write_bytes(OPEN[suffix]("é".encode() * 5000 + b"\xff tail"))
  with pytest.raises(UserError, match=r"a\.txt.*0xff at offset 10000"):
    texts(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst", ".bz2"])
def test_a_file_that_was_cut_off_is_named(tmp_path, suffix):
  whole = OPEN[suffix]("".join(f"line {i * i}\n" for i in range(9999)).encode())
  (tmp_path / f"a.txt{suffix}").write_bytes(whole[: len(whole) // 2])
  with pytest.raises(UserError, match=rf"a\.txt\{suffix}.*damaged"):
    texts(tmp_path)


@pytest.mark.parametrize(
  ("line", "says"),
  [
    (b'{"text": "a"', r"set\.jsonl:2: not JSON"),
    (b'{"text": "\xff"}', r"set\.jsonl:2: not UTF-8: byte at offset 25"),
    (b'["text"]', r"set\.jsonl:2: a record is a list"),
    (b'{"txt": "a"}', r"set\.jsonl:2: no field 'text'; the nearest is --config\.data\.field=txt"),
    (b"{}", r"set\.jsonl:2: no field 'text'"),
    (b'{"text": 3}', r"set\.jsonl:2: field 'text' is a whole number"),
    (b'{"text": "\\ud800"}', r"set\.jsonl:2: .*surrogate"),
    (b"[" * 100_000, r"set\.jsonl:2: not JSON"),
  ],
)
def test_a_broken_record_is_named_by_its_line(tmp_path, line, says):
  path = tmp_path / "set.jsonl"
  path.write_bytes(b'{"text": "ok"}\n' + line + b"\n")
  with pytest.raises(UserError, match=says):
    texts(path)


def test_a_pair_of_surrogates_in_json_is_one_character(tmp_path):
  (tmp_path / "set.jsonl").write_text('{"text": "\\ud83d\\ude00"}\n')
  assert list(texts(tmp_path).values()) == ["😀"]


def test_a_fingerprint_follows_the_content_and_not_the_date(tmp_path):
  path = tmp_path / "a.txt"
  prints = []
  for content in ("one", "two", "one"):
    path.write_text(content)
    prints.append(files.fingerprint_files(files.find_files(str(path))))
  assert prints[0] == prints[2] != prints[1]


def test_lines_longer_than_any_buffer_are_read(tmp_path):
  line = json.dumps({"text": "x" * 3_000_000})
  (tmp_path / "a.jsonl").write_text(line)
  assert len(texts(tmp_path)["a.jsonl:1"]) == 3_000_000


def test_a_field_whose_name_has_a_line_break_is_named_on_one_line(tmp_path):
  (tmp_path / "a.csv").write_text('id,"three\n four"\n3,five\n')
  with pytest.raises(UserError, match=r"\(its fields: id, three four\)") as caught:
    list(files.read_documents(files.find_files(str(tmp_path / "a.csv")), "text"))
  assert "\n" not in str(caught.value)
