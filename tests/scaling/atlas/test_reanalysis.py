"""A finished study fitted again: losses stay, laws are today's, and files of two studies are refused."""

import copy
import gzip
import json

import pytest

from gen.config import Criteria, to_dict
from gen.errors import UserError
from gen.io import typed_json
from gen.scaling.atlas import reanalysis
from gen.scaling.verdicts import verdict


@pytest.fixture(scope="module")
def recorded(whole_study):
  """A study's results as an earlier fit may have left them, and its journal."""
  results, curves = copy.deepcopy(whole_study)
  results["config"] = {"criteria": to_dict(Criteria(min_steps=10)), "bootstraps": 20, "seed": 3}
  results["verdict"] = {
    "credible": True,
    "reasons": [{"name": "one_epoch", "passed": False, "value": 2, "limit": 1, "sentence": "Twice."}],
  }
  results |= {"format": 1, "leave_one_budget_out": [], "seed_noise": None}
  results["laws"]["parametric"]["a"] = 0.9
  return results, [{"kind": "result", **point} for point in results["points"]] + list(curves)


def written(folder, results, rows, zipped=True):
  (folder / "results.json").write_text(json.dumps(results))
  content = "".join(json.dumps(row) + "\n" for row in rows).encode()
  path = folder / ("journal.jsonl.gz" if zipped else "journal.jsonl")
  path.write_bytes(gzip.compress(content) if zipped else content)
  return folder


def test_laws_are_made_anew_and_runs_stay(recorded, tmp_path):
  read = reanalysis.read_study(written(tmp_path, *recorded))
  made = reanalysis.reanalyse_study(read)
  fresh = typed_json.encode_record(
    verdict.analyse_sweep(recorded[0]["points"], read.curves, Criteria(min_steps=10), bootstraps=20, seed=3)
  )
  assert made["points"] == recorded[0]["points"] and made["corpus"] == recorded[0]["corpus"]
  assert made["laws"] == fresh["laws"] and made["laws"]["parametric"]["a"] != 0.9
  assert made["verdict"]["reasons"][-1]["sentence"] == "Twice." and not made["verdict"]["credible"]


def test_a_journal_of_other_losses_is_refused(recorded, tmp_path):
  results, rows = recorded
  other = [row | {"loss": 9.0} if row["kind"] == "result" else row for row in rows]
  with pytest.raises(UserError, match=r"its journal 9\.0; give the two files of one study"):
    reanalysis.read_study(written(tmp_path, results, other, zipped=False))


@pytest.mark.parametrize(
  ("content", "words"), [("", "is empty"), ("{}", "holds no runs"), ("[1]", "a list where an object")]
)
def test_what_is_no_study_is_one_sentence(content, words, tmp_path):
  (tmp_path / "results.json").write_text(content)
  with pytest.raises(UserError, match=words):
    reanalysis.read_study(tmp_path)


def test_an_envelope_of_curves_needs_its_journal_where_the_other_laws_moved(recorded, tmp_path):
  results = copy.deepcopy(recorded[0])
  results["laws"]["envelope"]["form"] = "curves"
  (tmp_path / "results.json").write_text(json.dumps(results))
  with pytest.raises(UserError, match=r"give its journal\.jsonl as well"):
    reanalysis.reanalyse_study(reanalysis.read_study(tmp_path))


@pytest.mark.parametrize(("version", "words"), [(None, "has no format version"), (7, "has format version 7")])
def test_results_of_another_format_version_are_one_sentence(recorded, tmp_path, version, words):
  results = {name: value for name, value in recorded[0].items() if name != "format"}
  results |= {} if version is None else {"format": version}
  (tmp_path / "results.json").write_text(json.dumps(results))
  with pytest.raises(UserError, match=rf"results\.json {words}, where this version of gen reads 1"):
    reanalysis.read_study(tmp_path)
