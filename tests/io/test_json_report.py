import json

import pytest

from gen.errors import UserError
from gen.io import json_report


def test_nothing_asked_goes_nowhere():
  assert json_report.report_target("") is None


def test_a_report_goes_into_the_file_and_its_summary_beside_it(tmp_path, capsys):
  path = json_report.report_target(str(tmp_path / "report.json"))
  json_report.write_report({"a": 1.5, "none": float("nan")}, path, ["warning: look"])
  assert json.loads(path.read_text()) == {"a": 1.5, "none": None}
  assert capsys.readouterr() == ("", "warning: look\n")


def test_standard_output_holds_the_report_alone(capsys):
  json_report.write_report({"a": [1, 2]}, json_report.report_target("-"), ["warning: look"])
  out, err = capsys.readouterr()
  assert json.loads(out) == {"a": [1, 2]} and not err


def test_what_cannot_be_written_is_one_sentence_before_and_after(tmp_path):
  with pytest.raises(UserError, match=r"--json=.* is a folder; name a file"):
    json_report.report_target(str(tmp_path))
  with pytest.raises(
    UserError, match="which does not exist; create that folder first, or - for standard output"
  ):
    json_report.report_target(str(tmp_path / "no" / "report.json"))
  path = json_report.report_target(str(tmp_path / "report.json"))
  path.mkdir()
  with pytest.raises(UserError, match=r"cannot write .*report\.json: Is a directory"):
    json_report.write_report({}, path)
