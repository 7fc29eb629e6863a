"""Whatever becomes of the JSON of a sweep's folder, its numbers are read as they were, or one sentence says why not."""

import dataclasses
import json
import random
import shutil

import pytest

from gen.config import Data, Model, Sweep, config_hash, to_dict
from gen.errors import UserError
from gen.io import seals
from gen.scaling.atlas import reanalysis
from gen.scaling.planning import law_source
from gen.scaling.runs import results_file, runs_table
from gen.scaling.sweeps import design
from gen.scaling.workers import jobs, ledger
from gen.training.run_folders import run_folder
from gen.training.run_log import journal
from tests import mutations

IDENTITY = {"corpus_sha256": "ab", "tokenizer": "cd"}
STUDY = Sweep(
  model=Model(head_width=8), data=Data(length=8, batch=2), budgets=(1e9, 2e9), widths=((8, 16), (16, 24))
)
RUN = "C1e9-w8-s0"


def open_ledger(folder, study=STUDY, identity=IDENTITY):
  return ledger.SweepLedger(folder, study, design.expand_sweep(study, 259), identity)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  """The folder of a small finished sweep, with journals, clock and results."""
  folder = tmp_path_factory.mktemp("study") / "sweep"
  for number, run in enumerate(design.expand_sweep(STUDY, 259), 1):
    (folder / run.name).mkdir(parents=True)
    (folder / run.name / "config.json").write_bytes(run_folder.config_text(run))
    common = {"run": config_hash(run), "name": run.name, "flops": run.flops}
    with journal.Journal(folder / run.name / "journal.jsonl") as rows:
      rows.append({"kind": "start", "config": to_dict(run)} | common)
      rows.append({"kind": "train", "step": 3, "loss": 4.0 + number} | common)
      values = {"loss": 3.0 + number / 7, "params": 500 * number, "tokens": 900 * number, "seconds": 2.5}
      rows.append({"kind": "result", **values, **IDENTITY} | common)
  with open_ledger(folder) as book:
    book.spent(7.0)
    found = {
      "format": 1,
      "name": "tiny",
      "points": book.results(),
      "seconds": 8.5,
      "verdict": {"credible": True},
    }
  (folder / "results.json").write_text(json.dumps(results_file.seal_results(found)))
  return folder


def damaged(folder, name, content, place):
  shutil.rmtree(place, ignore_errors=True)
  shutil.copytree(folder, place)
  (place / name).unlink(missing_ok=True)
  if content is not None:
    (place / name).write_bytes(content)
  return place


def said(call):
  try:
    return call()
  except UserError as error:
    assert "\n" not in str(error)
    return str(error)


def recorded(folder):
  book = open_ledger(folder)
  return book.results(), book.curves(), [run.name for run in book.left()], book.utilization()


def names_are_left(found, wanted):
  """Returns whether what is missing will be trained again: fewer results, none of them another."""
  return all(row in wanted[0] for row in found[0]) and len(found[0]) + len(found[2]) == len(wanted[0])


@pytest.mark.parametrize(
  "name", ["config.json", "clock.json", "journal.jsonl", f"{RUN}/config.json", f"{RUN}/journal.jsonl"]
)
def test_a_damaged_file_never_changes_what_a_sweep_has_recorded(fuzz, study, tmp_path, name):
  content = (study / name).read_bytes()
  wanted = recorded(damaged(study, name, content, tmp_path / "sweep"))
  for mutation, changed in fuzz.cases(lambda rng: mutations.mixed(content, rng)):
    place = damaged(study, name, changed, tmp_path / "sweep")
    found = said(lambda place=place: recorded(place))
    if name == "clock.json" and changed is None:  # It begins again.
      assert found[:3] == wanted[:3]
    elif name == f"{RUN}/journal.jsonl":
      assert isinstance(found, str) or names_are_left(found, wanted), mutation
    else:
      assert isinstance(found, str) or found == wanted, mutation


@pytest.mark.parametrize("name", ["journal.jsonl", "results.json"])
def test_a_damaged_table_never_gives_other_runs(fuzz, study, tmp_path, name):
  def table(path):
    found = runs_table.read_runs(path)
    curves = runs_table.read_curves(path, found)
    return (
      found.names.tolist(),
      *(array.tolist() for array in (found.params, found.tokens, found.loss)),
      len(curves),
    )

  content, wanted = (study / name).read_bytes(), table(study / name)
  path = tmp_path / name
  for mutation, changed in fuzz.cases(lambda rng: mutations.mixed(content, rng)):
    path.unlink(missing_ok=True)
    if changed is not None:
      path.write_bytes(changed)
    found = said(lambda: table(path))
    assert isinstance(found, str) or found == wanted, mutation


def test_a_selection_of_results_and_journals_joined_are_tables(study, tmp_path):
  lines = (study / "journal.jsonl").read_bytes().splitlines(keepends=True)
  whole = runs_table.read_runs(study / "journal.jsonl")
  path = tmp_path / "mine.jsonl"
  path.write_bytes(b"".join(line for line in lines if b'"result"' in line))
  assert runs_table.read_runs(path).loss.tolist() == whole.loss.tolist()
  path.write_bytes(b"".join(lines) * 2)
  assert runs_table.read_runs(path).loss.tolist() == whole.loss.tolist()
  path.write_bytes(b"".join(lines[:-1]))
  with pytest.raises(UserError, match="rows are missing, added or in another order"):
    runs_table.read_runs(path)


def test_equal_studies_have_equal_seals_whenever_they_were_trained():
  one = {"points": [{"loss": 2.5, "seconds": 1.0}], "seconds": 3.0, "created": "now"}
  other = {"points": [{"loss": 2.5, "seconds": 7.0}], "seconds": 4.0, "created": "then"}
  assert results_file.seal_results(one)["seal"] == results_file.seal_results(other)["seal"]
  other["points"][0]["loss"] = 2.0
  assert results_file.seal_results(one)["seal"] != results_file.seal_results(other)["seal"]


@pytest.mark.parametrize(
  "place", [("families", "gru", "points", 0, "seconds"), ("seconds",), ("credible", "gru")]
)
def test_an_edited_number_of_an_atlas_is_refused(place, tmp_path):
  family = {"points": [{"loss": 2.5, "seconds": 1.0}], "laws": {}}
  values = {"format": 1, "families": {"gru": family}, "seconds": 3.0, "credible": {"gru": 0.0}}
  atlas = results_file.seal_results(values)
  path = tmp_path / "results.json"
  path.write_text(json.dumps(atlas, indent=2, sort_keys=True))
  assert reanalysis.read_study(tmp_path).results == atlas
  part = atlas
  for step in place[:-1]:
    part = part[step]
  part[place[-1]] += 0.5
  path.write_text(json.dumps(atlas))
  with pytest.raises(UserError, match=r"results\.json was changed after it was written"):
    reanalysis.read_study(tmp_path)


def test_an_edited_constant_of_a_sealed_law_is_refused(tmp_path):
  path = tmp_path / "law.json"
  law = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
  content, wanted = json.dumps(seals.with_seal(law)).encode(), None
  for name, changed in [("nothing", content), *mutations.of(content, random.Random(0))]:
    path.unlink(missing_ok=True)
    if changed is not None:
      path.write_bytes(changed)
    found = said(lambda: law_source.read_source(path).optimum(1e20))
    wanted = wanted or found
    assert isinstance(found, str) or found == wanted, name


def test_a_run_that_lost_its_journal_and_has_checkpoints_is_refused(study, tmp_path):
  place = damaged(study, f"{RUN}/journal.jsonl", None, tmp_path / "sweep")
  (place / RUN / "checkpoints" / "000000003").mkdir(parents=True)
  with pytest.raises(UserError, match=rf"{RUN} has checkpoints but has lost its journal"):
    open_ledger(place)


def test_a_result_on_other_text_is_refused_where_the_config_is_gone(study, tmp_path):
  place = damaged(study, "config.json", None, tmp_path / "sweep")
  with pytest.raises(UserError, match=r"line 3 of .* is of another corpus_sha256 \(ab, now xx\)"):
    open_ledger(place, identity=IDENTITY | {"corpus_sha256": "xx"})


def test_a_config_that_is_gone_does_not_admit_another_learning_rate(study, tmp_path):
  other = dataclasses.replace(STUDY, optimizer=dataclasses.replace(STUDY.optimizer, peak_learning_rate=0.5))
  for name in ("config.json", f"{RUN}/config.json"):
    place = damaged(study, name, None, tmp_path / "sweep")
    (place / "config.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match="peak_learning_rate was"):
      open_ledger(place, other)


def test_damaged_records_of_jobs_are_one_sentence(tmp_path):
  record = tmp_path / "submitted.jsonl"
  outcome = tmp_path / "0.json"
  with journal.Journal(record) as rows:
    for run in ("a", "b"):
      rows.append({"cluster": "here", "run": run, "outcome": str(outcome), "name": f"job-{run}", "home": "."})
  content, wanted = record.read_bytes(), jobs.read_rows(record, "here")
  assert set(wanted) == {"a", "b"}
  for mutation, changed in mutations.of(content, random.Random(2)):
    record.unlink(missing_ok=True)
    if changed is not None:
      record.write_bytes(changed)
    found = said(lambda: jobs.read_rows(record, "here"))
    assert isinstance(found, str) or all(wanted[run] == row for run, row in found.items()), mutation
  record.write_bytes(content)
  for _, changed in mutations.of(b'{"kind": "finished", "text": ""}', random.Random(2)):
    if changed is not None:
      outcome.write_bytes(changed)
      said(lambda: jobs.read_rows(record, "here"))
