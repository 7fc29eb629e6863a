"""A curation end to end: order, restart, any number of workers, its folder as a corpus, and an empty result."""

import json

import pytest

from gen.config import Data
from gen.config.curation import Curation, check_curation
from gen.data import corpus
from gen.data.curation import funnel, reading
from gen.data.curation.passes import shard_work
from gen.data.curation.rules.verdicts import Drop
from gen.errors import UserError
from gen.io import user_code

RULES = ("gopher_quality", "c4", "documents", "paragraphs", "lines")


def contents(folder):
  """Returns every file of a folder by name."""
  return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def without_lock(files):
  return {name: content for name, content in files.items() if not name.endswith(".lock")}


def texts_of(folder):
  return [document.text for document in funnel_documents(folder)]


def funnel_documents(folder):
  from gen.data.sources import source

  return list(source.read_documents(Data(corpus=str(folder))))


@pytest.fixture
def small_shards(monkeypatch):
  monkeypatch.setattr(reading, "MAX_DOCUMENTS", 5)


def test_each_stage_counts_what_it_drops_and_why(curate, write_jsonl, make_documents):
  good = make_documents(6)
  junk = ["- a list of links\n" * 60, "short"]
  outcome, folder = curate(write_jsonl([good[0], *junk, *good, good[2]]), RULES)
  by_name = {stage["name"]: stage for stage in outcome.stages}
  assert [stage["name"] for stage in outcome.stages] == list(RULES)
  assert by_name["gopher_quality"]["in"][0] == 10 and by_name["gopher_quality"]["out"][0] == 8
  assert by_name["documents"]["reasons"] == {
    "the same words as another document": [2, len(good[0]) + len(good[2]), by_name["documents"]["reasons"]
                                           ["the same words as another document"][2]]
  }  # fmt: skip
  assert texts_of(folder) == [good[0], *good[1:]]
  drops = [json.loads(line) for line in (folder / "drops.jsonl").read_text().splitlines()]
  assert [(drop["n"], drop["stage"]) for drop in drops] == [
    (1, "gopher_quality"), (2, "gopher_quality"), (3, "documents"), (9, "documents"),
  ]  # fmt: skip
  assert drops[3]["detail"] == "raw.jsonl:6"  # the copy that stays
  assert outcome.report["kept"]["documents"] == 0.6


def test_any_number_of_workers_writes_the_same_bytes(curate, write_jsonl, make_documents, small_shards):
  source = write_jsonl([*make_documents(13), *make_documents(7), "x"])
  curate(source, RULES, "one", workers=1)
  curate(source, RULES, "two", workers=2)
  folder = curate(source, RULES, "one", workers=1)[1]
  assert contents(folder) == contents(folder.with_name("two"))
  assert sorted(contents(folder)) == [
    "drops.jsonl",
    "manifest.json",
    "report.html",
    "report.json",
    "shards/00000.jsonl.zst",
  ]


@pytest.mark.parametrize("stop", [1, 4, 6, 9])
def test_a_stopped_run_continues_to_the_same_bytes(
  curate, write_jsonl, make_documents, small_shards, monkeypatch, stop
):
  source = write_jsonl([*make_documents(9), *make_documents(4)])
  whole = curate(source, RULES, "whole")[1]
  calls, work = [0], shard_work.run_shard

  def interrupted(*arguments):
    calls[0] += 1
    if calls[0] == stop:
      raise KeyboardInterrupt
    return work(*arguments)

  monkeypatch.setattr(shard_work, "run_shard", interrupted)
  with pytest.raises(KeyboardInterrupt):
    curate(source, RULES, "out")
  stopped = calls[0]
  folder = curate(source, RULES, "out")[1]
  assert calls[0] == 12 + 1, (
    stopped
  )  # no shard of the four passes was made twice, but for the one that was interrupted
  assert contents(folder) == contents(whole)


def test_a_damaged_shard_of_a_stopped_run_is_made_again(
  curate, write_jsonl, make_documents, small_shards, monkeypatch
):
  source = write_jsonl(make_documents(9))
  whole = curate(source, RULES, "whole")[1]
  work = shard_work.run_shard
  monkeypatch.setattr(
    shard_work, "run_shard", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt) if a[1] else work(*a)
  )
  with pytest.raises(KeyboardInterrupt):
    curate(source, RULES, "out")
  monkeypatch.setattr(shard_work, "run_shard", work)
  damaged = next((whole.with_name("out") / funnel.WORK / "pass-00").glob("*1.rows.zst"))
  damaged.write_bytes(damaged.read_bytes()[:-3])
  assert contents(curate(source, RULES, "out")[1]) == contents(whole)


def test_a_full_disk_is_one_sentence_and_the_restart_goes_on(
  curate, write_jsonl, make_documents, small_shards, monkeypatch
):
  import errno
  from pathlib import Path

  source = write_jsonl(make_documents(9))
  whole = curate(source, RULES, "whole")[1]
  write, written = Path.write_bytes, [0]

  def full(path, content):
    written[0] += len(content)
    if written[0] > 9_000:
      raise OSError(errno.ENOSPC, "No space left on device")
    return write(path, content)

  monkeypatch.setattr(Path, "write_bytes", full)
  with pytest.raises(UserError, match=r"no space left for .*; make room, and the same command continues"):
    curate(source, RULES, "out")
  monkeypatch.setattr(Path, "write_bytes", write)
  assert contents(curate(source, RULES, "out")[1]) == contents(whole)


def test_another_config_or_source_does_not_continue(curate, write_jsonl, make_documents):
  source = write_jsonl(make_documents(4))
  curate(source, RULES)
  assert curate(source, RULES)[0].existed
  with pytest.raises(UserError, match="a curation with other config; run it with the same"):
    curate(source, RULES[:2])
  write_jsonl(make_documents(5))
  with pytest.raises(UserError, match="a curation with other sources"):
    curate(source, RULES)


def test_a_run_that_failed_before_any_text_leaves_the_folder_to_another(
  curate, write_jsonl, make_documents, tmp_path
):
  broken = tmp_path / "broken.jsonl"
  broken.write_text("{not json}\n")
  with pytest.raises(UserError, match="not JSON"):
    curate(broken, RULES)
  assert curate(write_jsonl(make_documents(2)), RULES)[0].report["out"]["documents"] == 2


def test_an_empty_result_names_the_stage_that_ate_it(curate, write_jsonl):
  lists = [
    f"{number} line of the list and that of words without an end mark\n" * 20 for number in ("one", "two")
  ]
  with pytest.raises(
    UserError,
    match=r"nothing is left: stage c4 dropped 2 of 3 documents, 2 of them for too few sentences; .*without=c4",
  ):
    curate(write_jsonl([*lists, "short"]), ("gopher_quality", "c4"))
  with pytest.raises(
    UserError, match=r"stage gopher_quality dropped 2 of 3 .*, and c4 dropped the last 1; relax"
  ):
    curate(write_jsonl([lists[0], "short", "x"]), ("gopher_quality", "c4"), "other")


def test_other_parameters_may_follow_an_empty_result_in_its_folder(curate, write_jsonl):
  source = write_jsonl(["short", " \n", "x"])
  with pytest.raises(UserError, match="nothing is left: stage gopher_quality dropped 2 of 2 documents"):
    curate(source, ("gopher_quality",))
  report = curate(source, ("documents",))[0].report
  assert report["out"]["documents"] == 2
  assert "documents without text, which are left out: 1" in report["notes"]


def test_a_language_is_named_by_its_code():
  config = Curation()
  config.language.keep = ("de", "english")
  with pytest.raises(UserError, match="'english', which is no code of a language; write ISO 639 codes"):
    check_curation(config)


def test_the_folder_is_a_corpus_whose_hash_covers_the_manifest(curate, write_jsonl, make_documents, tmp_path):
  documents = make_documents(30)
  source = write_jsonl(documents)
  hashes = {}
  for name, stages in (("one", ("gopher_quality",)), ("two", ("gopher_quality", "documents"))):
    folder = curate(source, stages, name)[1]
    data = Data(corpus=str(folder), cache=str(tmp_path / "cache"), validation_fraction=0.3)
    built = corpus.build_corpus(data)
    assert sorted([*built.train, *built.validation]) == sorted(documents)
    assert built.notes[0].startswith(f"curated by {', '.join(stages)}; manifest ")
    hashes[built.sha256] = name
  assert len(hashes) == 2  # the same text by other stages
  shard = folder / "shards/00000.jsonl.zst"
  shard.write_bytes(shard.read_bytes() + b"x")
  with pytest.raises(UserError, match=r"00000.jsonl.zst has changed since it was curated"):
    corpus.build_corpus(data)


def test_a_function_of_the_users_own_is_a_stage(curate, write_jsonl, make_documents, tmp_path):
  (tmp_path / "mine.py").write_text(
    "from gen.data.curation import Drop\n\n\n"
    "def no_letters(document):\n"
    "  return Drop('three letters') if document.text.count('letter') > 3 else document\n"
  )
  outcome, _ = curate(write_jsonl(make_documents(9)), ("gopher_quality", "c4"),
                      own=(f"{tmp_path / 'mine.py'}:no_letters@gopher_quality",), workers=2)  # fmt: skip
  assert [stage["name"] for stage in outcome.stages] == ["gopher_quality", "no_letters", "c4"]
  assert list(outcome.stages[1]["reasons"]) == ["three letters"]
  assert list(outcome.manifest["identity"]["own"].values()) == [
    user_code.source_checksum(f"{tmp_path / 'mine.py'}:no_letters", "own")
  ]


def test_an_error_of_such_a_function_is_one_sentence(curate, write_jsonl, make_documents, tmp_path):
  (tmp_path / "faulty.py").write_text("def half(document):\n  return document.text[1 / 0]\n")
  with pytest.raises(
    UserError, match=r"stage half, document raw.jsonl:1 failed: ZeroDivisionError.*line 2 of"
  ):
    curate(write_jsonl(make_documents(2)), ("c4",), own=(f"{tmp_path / 'faulty.py'}:half",))
  (tmp_path / "other.py").write_text("def half(document):\n  return 7\n")
  with pytest.raises(UserError, match="stage half returned a int; return a Document, or Drop"):
    curate(write_jsonl(make_documents(2)), ("c4",), "new", own=(f"{tmp_path / 'other.py'}:half",))


def test_damage_ends_the_run_or_is_skipped_and_reported(curate, write_jsonl, make_documents, tmp_path):
  folder = tmp_path / "raw"
  folder.mkdir()
  good = make_documents(3)
  (folder / "a.txt").write_text(good[0])
  (folder / "b.bin").write_bytes(bytes(range(256)) * 20)
  (folder / "c.txt").write_bytes("é".encode("latin-1") + good[1].encode())
  (folder / "d.txt").write_text(good[2])
  with pytest.raises(UserError, match=r"b.bin: this is binary data, not text"):
    curate(folder, ("gopher_quality",))
  outcome, result = curate(folder, ("gopher_quality",), "skipped", skip_damaged=True)
  assert [fault["file"] for fault in outcome.report["skipped"]] == ["b.bin", "c.txt"]
  assert "not UTF-8" in outcome.report["skipped"][1]["error"]
  assert texts_of(result) == [good[0], good[2]]


def test_a_page_or_a_short_text_alone_is_one_document(curate, make_documents, tmp_path):
  (text,) = make_documents(1)
  for name, content in (("page.html", f"<html><body><p>{text}</p></body></html>"), ("short.txt", text)):
    (tmp_path / name).write_text(content)
    outcome, _ = curate(tmp_path / name, ("documents",), name=f"out {name}")
    assert outcome.stages[0]["in"][0] == 1, name


@pytest.mark.parametrize(
  ("names", "sentence"),
  [
    (["missing.jsonl"], "--source missing.jsonl: no such file or folder"),
    (["no*.jsonl"], "--source no*.jsonl: no file matches"),
    (["none:x"], "--source 'none:x': there is no scheme 'none'"),
    (["raw.jsonl", " "], "--source holds an empty name; write names with one comma between two of them"),
  ],
)
def test_a_source_that_cannot_be_is_named_by_its_flag(names, sentence, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "raw.jsonl").write_text("{}")
  with pytest.raises(UserError) as caught:
    reading.open_sources(names, Curation())
  assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("source", ["{}", "jsonl:{}", "{}/**/*.jsonl"])
def test_a_result_among_its_sources_is_refused(source, curate, write_jsonl, make_documents):
  folder = write_jsonl(make_documents(2)).parent
  with pytest.raises(UserError, match=r"lies in the source .*name a folder outside"):
    curate(source.format(folder), ("documents",), name="clean")


def test_a_drop_has_a_reason():
  assert Drop("short").detail == ""
