"""Whatever becomes of the JSON of a finished run, its numbers are told as they were, or one sentence says why not."""

import dataclasses
import json
import random
import shutil

import jax
import numpy as np
import pytest

from gen.config import config_hash, from_dict
from gen.errors import UserError
from gen.generation import loaded_model
from gen.io import seals
from gen.training import loop
from gen.training.checkpointing import checkpoint_folder
from gen.training.run_folders import run_folder
from gen.training.run_log import journal
from tests import mutations, tiny_run

# Optimized as test_loop.py, with which it shares the compiled step.
pytestmark = [pytest.mark.optimized, pytest.mark.slow]
FILES = (
  "config.json",
  "journal.jsonl",
  "checkpoints/000000012/meta.json",
  "checkpoints/000000012/manifest.json",
  "tokenizer/tokenizer.json",
  ".lock",
)


@pytest.fixture(scope="module")
def tiny(run):
  return dataclasses.replace(run, steps=12, log_every=3, checkpoint_every=5)


@pytest.fixture(scope="module")
def finished(tiny, trained):
  return trained(tiny)


def numbers(result):
  return json.loads(json.dumps(tiny_run.without_clocks(result)))


def damaged(folder, name, content, place):
  """Returns a copy of a run's folder in which one file is damaged."""
  shutil.rmtree(place, ignore_errors=True)
  shutil.copytree(folder, place)
  (place / name).unlink(missing_ok=True)
  if content is not None:
    (place / name).write_bytes(content)
  return place


def said(call):
  """Returns what a call returns, or the sentence that it ends with."""
  try:
    return call()
  except UserError as error:
    assert len(str(error)) < 2000 and "Traceback" not in str(error)
    return str(error)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_never_changes_a_result(fuzz, tiny, data, finished, tmp_path, name):
  folder, result = finished
  if name.startswith("tokenizer"):
    name = next(path for path in (folder / "tokenizer").iterdir()).relative_to(folder).as_posix()
  content = (folder / name).read_bytes() or b"{}"
  other = dataclasses.replace(tiny, optimizer=dataclasses.replace(tiny.optimizer, peak_learning_rate=0.02))
  wanted = state_of(folder, tiny)
  for mutation, changed in fuzz.cases(lambda rng: mutations.mixed(content, rng)):
    place = damaged(folder, name, changed, tmp_path / "run")
    loaded = said(lambda place=place: state_of(place, tiny))
    assert isinstance(loaded, str) or same(loaded, wanted), mutation
    refused = said(lambda place=place: loop.train_run(other, place, data))
    assert isinstance(refused, str), mutation
    found = said(lambda place=place: loop.train_run(tiny, place, data))
    assert isinstance(found, str) or numbers(found) == numbers(result), mutation
    if isinstance(found, str) and changed is not None:
      assert (place / name).read_bytes() == changed, f"{mutation}: what is refused is not overwritten"


def state_of(folder, run):
  restored = loaded_model.load_model(folder)
  return config_hash(loaded_model.read_run(folder)), restored.model, restored.params


def same(found, wanted):
  equal = jax.tree.map(np.array_equal, found[2], wanted[2])
  return found[:2] == wanted[:2] and all(jax.tree.leaves(equal))


def test_an_edited_loss_is_refused_with_its_line(tiny, data, finished, tmp_path):
  folder, _ = finished
  lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
  row = json.loads(lines[-1])
  assert row["kind"] == "result"
  edited = json.dumps(row | {"loss": row["loss"] / 2}).encode() + b"\n"
  place = damaged(folder, "journal.jsonl", b"".join([*lines[:-1], edited]), tmp_path / "run")
  with pytest.raises(UserError, match=rf"line {len(lines)} of .*journal\.jsonl was changed"):
    loop.train_run(tiny, place, data)


@pytest.mark.parametrize("content", [None, b"", b"{", b"null", b"[]"])
def test_a_config_that_is_lost_is_written_again_for_the_same_run_and_no_other(
  tiny, data, finished, tmp_path, content
):
  folder, result = finished
  place = damaged(folder, "config.json", content, tmp_path / "run")
  other = dataclasses.replace(tiny, seed=4)
  with pytest.raises(UserError, match=r"holds another run \(seed: 3 -> 4\)"):
    loop.train_run(other, place, data)
  assert numbers(loop.train_run(tiny, place, data)) == numbers(result)
  assert json.loads((place / "config.json").read_text()) == json.loads((folder / "config.json").read_text())


def test_an_edited_config_is_refused_by_training_and_by_generation(tiny, data, finished, tmp_path):
  folder, _ = finished
  values = json.loads((folder / "config.json").read_text())
  values["model"]["rotary_base"] = 500.0
  place = damaged(folder, "config.json", json.dumps(values).encode(), tmp_path / "run")
  words = r"config\.json differs from the config in checkpoint .* \(model.rotary_base: 10000.0 -> 500.0\)"
  edited = {name: value for name, value in values.items() if name != "format"}
  for run in (tiny, from_dict(type(tiny), edited)):
    with pytest.raises(UserError, match=words):
      loop.train_run(run, place, data)
  with pytest.raises(UserError, match=words):
    loaded_model.load_model(place)


@pytest.fixture(scope="module")
def stopped(tiny, data, tmp_path_factory):
  folder = tmp_path_factory.mktemp("stopped") / "run"
  with pytest.raises(loop.RunStopped):
    loop.train_run(tiny, folder, data, tiny_run.StopAt(9))
  assert len(checkpoint_folder.complete_steps(folder / "checkpoints")) == 2
  return folder


@pytest.mark.parametrize("name", ["meta.json", "manifest.json"])
def test_a_damaged_meta_of_the_latest_step_falls_back_to_the_step_before(
  tiny, data, finished, stopped, tmp_path, name
):
  latest = f"checkpoints/{checkpoint_folder.complete_steps(stopped / 'checkpoints')[-1]:09d}/{name}"
  for content in (None, b"", b"null", b"[" * mutations.DEEP):
    place = damaged(stopped, latest, content, tmp_path / "run")
    assert numbers(loop.train_run(tiny, place, data)) == numbers(finished[1])


@pytest.mark.slow
def test_a_stopped_run_refuses_a_journal_with_other_rows_and_goes_on_without_one(
  tiny, data, finished, stopped, tmp_path
):
  content = (stopped / "journal.jsonl").read_bytes()
  for _, changed in mutations.of(content, random.Random(1)):
    place = damaged(stopped, "journal.jsonl", changed, tmp_path / "run")
    found = said(lambda place=place: loop.train_run(tiny, place, data))
    if changed and b"\n" in changed.strip():
      assert isinstance(found, str) or changed == content
    elif not isinstance(found, str):  # No row is whole, so all are lost, which the first row says.
      assert numbers(found) == numbers(finished[1])
      assert journal.read_journal(place / "journal.jsonl")[0]["lost_rows"] == content.count(b"\n")
      assert loop.train_run(tiny, place, data) == found


def test_rows_of_another_run_are_refused(tiny, data, finished, tmp_path):
  other = dataclasses.replace(tiny, seed=9)
  loop.train_run(other, tmp_path / "other", data)
  rows = (tmp_path / "other" / "journal.jsonl").read_bytes()
  place = damaged(finished[0], "journal.jsonl", rows, tmp_path / "run")
  with pytest.raises(UserError, match="seed: "):
    loop.train_run(tiny, place, data)
  place = damaged(place, "config.json", run_folder.config_text(other), tmp_path / "both")
  with pytest.raises(UserError, match=r"config\.json differs from the config in checkpoint"):
    loop.train_run(other, place, data)


@pytest.mark.parametrize(("name", "line"), [("config.json", None), ("journal.jsonl", 0)])
@pytest.mark.parametrize("version", [None, 2])
def test_a_folder_of_another_format_version_is_one_sentence(
  tiny, data, finished, tmp_path, name, line, version
):
  lines = (finished[0] / name).read_text().split("\n") if line == 0 else [(finished[0] / name).read_text()]
  values = json.loads(lines[0])
  assert values.pop("format") == 1
  values |= {} if version is None else {"format": version}
  lines[0] = json.dumps(seals.with_seal(values) if line == 0 else values)
  place = damaged(finished[0], name, "\n".join(lines).encode(), tmp_path / "run")
  words = "has no format version" if version is None else "has format version 2"
  with pytest.raises(UserError, match=f"{words}, where this version of gen reads 1; read it with"):
    loop.train_run(tiny, place, data)
