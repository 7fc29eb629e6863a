import pytest

from gen.config import Data
from gen.data.sources import source as source_module
from gen.errors import UserError


def test_one_interface_serves_every_kind_of_source(tmp_path):
  (tmp_path / "a.txt").write_text("a text")
  (tmp_path / "b.txt").write_text("b text")
  (tmp_path / "c.log").write_text('{"body": "c text"}\n')
  assert [d.text for d in source_module.read_documents(Data(corpus=str(tmp_path / "*.txt")))] == [
    "a text",
    "b text",
  ]
  assert [
    d.text for d in source_module.read_documents(Data(corpus=f"jsonl:{tmp_path / 'c.log'}", field="body"))
  ] == ["c text"]
  assert source_module.find_source(Data(corpus="environment:code")).fingerprint[:2] == ["environment", "code"]


def test_the_environment_means_its_docstrings():
  assert (
    source_module.find_source(Data(corpus="environment")).fingerprint
    == source_module.find_source(Data(corpus="environment:docstrings")).fingerprint
    != source_module.find_source(Data(corpus="environment:code")).fingerprint
  )


def test_a_path_may_hold_a_colon(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "notes:old.txt").write_text("text")
  assert next(source_module.read_documents(Data(corpus="notes:old.txt"))).text


@pytest.mark.parametrize(
  ("corpus", "says"),
  [
    ("", "data.corpus is empty"),
    ("s3://bucket/text", "there is no scheme 's3'"),
    ("jsonlines:x", "there is no scheme 'jsonlines'; the nearest is jsonl"),
    ("json:x", "x: no such file"),
    ("environ:code", "the nearest is environment"),
    ("environment:poems", "environment:docstrings or environment:code"),
    ("environment:", "environment:docstrings or environment:code"),
    ("jsonl:no.jsonl", "no.jsonl: no such file"),
  ],
)
def test_a_name_that_means_nothing_is_the_users_to_mend(corpus, says):
  with pytest.raises(UserError, match=says):
    source_module.find_source(Data(corpus=corpus))


def test_the_fingerprint_knows_the_field(tmp_path):
  (tmp_path / "a.jsonl").write_text('{"a": "x", "b": "y"}')
  one, other = (
    source_module.find_source(Data(corpus=str(tmp_path / "a.jsonl"), field=field)) for field in "ab"
  )
  assert one.fingerprint != other.fingerprint
