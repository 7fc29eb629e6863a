"""Arrow files and the folders of Hugging Face datasets are corpora, the same one however their rows are stored."""

import json
import sys

import pytest

from gen.config import Data
from gen.data import corpus
from gen.data.curation import reading
from gen.data.sources import source as source_module
from gen.errors import UserError

pyarrow = pytest.importorskip("pyarrow")
TEXTS = [f"Text {i}: «ünï», 😀.\nIts second line." for i in range(11)]


def write(path, texts, rows, as_file=False, column="text", **options):
  """Writes an Arrow stream, or an Arrow file, in batches of so many rows."""
  table = pyarrow.table({"id": range(len(texts)), column: texts})
  open_writer = pyarrow.ipc.new_file if as_file else pyarrow.ipc.new_stream
  options = pyarrow.ipc.IpcWriteOptions(**options)
  with path.open("wb") as stream, open_writer(stream, table.schema, options=options) as writer:
    writer.write_table(table, max_chunksize=rows)


def save_to_disk(folder, texts, shards=1, rows=1000, split=None, **state):
  """Writes the layout of Dataset.save_to_disk."""
  folder.mkdir(parents=True)
  names = [f"data-{shard:05}-of-{shards:05}.arrow" for shard in range(shards)]
  for shard, name in enumerate(names):
    start, end = (len(texts) * at // shards for at in (shard, shard + 1))
    write(folder / name, texts[start:end], rows)
  listed = {"_data_files": [{"filename": name} for name in names], "_split": split, **state}
  (folder / "state.json").write_text(json.dumps(listed))
  (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
  return folder


def save_cache(folder, shards):
  """Writes the layout of the cache of load_dataset; rows of its training split are TEXTS."""
  folder.mkdir()
  endings = [""] if shards == 1 else [f"-{shard:05}-of-{shards:05}" for shard in range(shards)]
  for shard, ending in enumerate(endings):
    start, end = (len(TEXTS) * at // shards for at in (shard, shard + 1))
    write(folder / f"tales-train{ending}.arrow", TEXTS[start:end], 4)
  write(folder / "tales-validation.arrow", ["held out"], 4)
  write(folder / "cache-0123456789abcdef.arrow", ["a result of map"], 4)
  (folder / "dataset_info.json").write_text(json.dumps({"splits": {"train": {}, "validation": {}}}))
  return folder


def texts_of(path, **data):
  return [document.text for document in source_module.read_documents(Data(corpus=str(path), **data))]


def refusal(path, **data):
  with pytest.raises(UserError) as caught:
    texts_of(path, **data)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.parametrize("options", [{}, {"compression": "lz4"}, {"compression": "zstd"}])
def test_an_arrow_file_is_read_in_any_batches_and_under_any_name(tmp_path, as_file, options):
  for rows in (1, 4, 11):
    write(tmp_path / "shard.bin", TEXTS, rows, as_file, **options)
    assert texts_of(tmp_path / "shard.bin") == TEXTS


def test_a_set_has_the_same_corpus_however_many_files_and_batches_hold_it(tmp_path):
  folders = [
    save_to_disk(tmp_path / f"{n}{rows}", TEXTS, n, rows) for n, rows in ((1, 1000), (3, 2), (11, 1))
  ]
  folders.append(save_cache(tmp_path / "cached", 2))
  (tmp_path / "dict").mkdir()
  (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
  save_to_disk(tmp_path / "dict" / "train", TEXTS, 2, 3, "train")
  save_to_disk(tmp_path / "dict" / "test", ["held out"], split="test")
  cache = {"cache": str(tmp_path / "cache"), "validation_fraction": 0.3}
  built = [corpus.build_corpus(Data(corpus=str(folder), **cache)) for folder in (*folders, tmp_path / "dict")]
  assert {made.sha256 for made in built} == {built[0].sha256} and built[0].documents == len(TEXTS)
  assert built[0].notes == ("train: read as a datasets folder, the field 'text'",)
  assert texts_of(tmp_path / "dict", split="test") == ["held out"]
  opened = reading.open_sources([str(folders[1])], reading.Curation())[0]
  assert [document.text for document in opened.source.documents()] == TEXTS


def test_rows_that_are_null_are_left_out(tmp_path):
  write(tmp_path / "a.arrow", ["one", None, "three"], 2)
  assert texts_of(tmp_path / "a.arrow") == ["one", "three"]


def test_a_split_that_is_not_there_is_one_sentence_with_those_that_are(tmp_path):
  cached = save_cache(tmp_path / "cached", 1)
  assert "there is no split 'test', and the folder has train, validation" in refusal(cached, split="test")
  saved = save_to_disk(tmp_path / "saved", TEXTS, split="validation")
  assert texts_of(saved) == TEXTS
  assert "the folder has validation" in refusal(saved, split="test")


def test_a_folder_that_was_copied_in_part_is_refused(tmp_path):
  saved = save_to_disk(tmp_path / "saved", TEXTS, 3)
  (saved / "data-00001-of-00003.arrow").unlink()
  assert "data-00001-of-00003.arrow is missing beside state.json" in refusal(saved)
  cached = save_cache(tmp_path / "cached", 3)
  (cached / "tales-train-00002-of-00003.arrow").unlink()
  assert "tales-train-00002-of-00003.arrow is missing beside dataset_info.json" in refusal(cached)


def test_a_stream_that_was_cut_off_is_refused_even_between_two_batches(tmp_path):
  write(tmp_path / "a.arrow", TEXTS, 4)
  whole = (tmp_path / "a.arrow").read_bytes()
  (tmp_path / "a.arrow").write_bytes(whole[:-8])
  assert "a.arrow: the Arrow file ends before its end mark" in refusal(tmp_path / "a.arrow")


def test_a_set_without_a_text_column_names_its_columns(tmp_path):
  saved = save_to_disk(tmp_path / "saved", TEXTS)
  write(saved / "data-00000-of-00001.arrow", TEXTS, 4, column="story_of_it")
  assert "no field 'text'" in refusal(saved) and "(its fields: id, story_of_it)" in refusal(saved)
  assert texts_of(saved, field="story_of_it") == TEXTS


@pytest.mark.parametrize(
  ("state", "said"),
  [
    ({"_data_files": [{"filename": "../x.arrow"}]}, "outside of its folder"),
    ({"_data_files": [{"file": 1}]}, "has no 'filename'"),
    ({"_data_files": 3}, "a list is expected"),
    ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "call flatten_indices()"),
  ],
)
def test_a_state_of_other_content_is_one_sentence(tmp_path, state, said):
  assert said in refusal(save_to_disk(tmp_path / "saved", TEXTS, **state))


def test_an_arrow_file_without_its_reader_names_the_extra(tmp_path, monkeypatch):
  saved = save_to_disk(tmp_path / "saved", TEXTS)
  monkeypatch.setitem(sys.modules, "pyarrow", None)
  assert "uv run --extra arrow, or uv pip install pyarrow" in refusal(saved)
