"""Every experiment writes JSON where --json says, and with - nothing else to standard output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gen.io import json_report, outputs

ROOT = Path(__file__).parents[1]
WALK = Path(__file__).with_name("json_walk.py")


def test_every_experiment_has_the_flag_with_one_meaning():
  programs = sorted((ROOT / "experiments").glob("*.py"))
  done = subprocess.run([sys.executable, WALK, *programs], capture_output=True, text=True, cwd=ROOT)
  assert done.returncode == 0, done.stderr[-3000:]
  said = dict(line.split("\t") for line in done.stdout.splitlines())
  assert len(said) == len(programs) > 20
  assert {name for name, text in said.items() if text != outputs.JSON_HELP} == set()


@pytest.mark.parametrize("asked", ["-", "report.json"])
def test_a_summary_is_printed_beside_json_and_never_into_it(asked, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  with outputs.json_alone(asked):
    print("the summary")
    json_report.write_report({"loss": float("nan"), "N": 7}, json_report.report_target(asked))
    print("and its end")
  out, err = capsys.readouterr()
  if asked == "-":
    assert json.loads(out) == {"loss": None, "N": 7} and err == "the summary\nand its end\n"
  else:
    assert json.loads((tmp_path / asked).read_text()) == {"loss": None, "N": 7}
    assert (out, err) == ("the summary\nand its end\n", "")


def test_standard_output_is_itself_again_after_a_failure(capsys):
  with pytest.raises(ZeroDivisionError), outputs.json_alone("-"):
    raise ZeroDivisionError
  print("text")
  assert outputs.json_stream() is sys.stdout and capsys.readouterr().out == "text\n"
