import pytest

from gen.errors import UserError
from gen.io import json_reading


@pytest.mark.parametrize(
  ("content", "clause"),
  [
    (b"", "is empty"),
    (b" \n", "is empty"),
    (b"null", "holds null where an object is expected"),
    (b"[1]", "holds a list where an object is expected"),
    (b"[" * 100_000, "is nested too deeply"),
    (b'{"a": ', "is not valid JSON"),
    (b'{"a": ' + b"1" * 5_000 + b"}", "is not valid JSON"),
    (b"\xff\xfe{\x00", "is not UTF-8 text"),
  ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_that_names_it(tmp_path, content, clause):
  path = tmp_path / "x.json"
  path.write_bytes(content)
  with pytest.raises(UserError, match=clause) as error:
    json_reading.read_json(path)
  assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path):
  with pytest.raises(UserError, match="No such file"):
    json_reading.read_json(tmp_path / "x.json")
  (tmp_path / "y.json").write_text("[1, 2, 3]")
  with pytest.raises(UserError, match="has 9 bytes"):
    json_reading.read_json(tmp_path / "y.json", list, max_bytes=8)


def test_a_byte_order_mark_is_no_part_of_json(tmp_path):
  (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": true}')
  assert json_reading.read_json(tmp_path / "x.json") == {"a": True}


def test_true_is_no_number_and_a_missing_field_is_named():
  with pytest.raises(UserError, match="x: steps holds true or false where a number is expected"):
    json_reading.require_field({"steps": True}, "steps", float, "x")
  with pytest.raises(UserError, match="x has no 'rate'"):
    json_reading.require_field({}, "rate", float, "x")
  assert json_reading.require_field({"rate": 2}, "rate", float, "x") == 2
