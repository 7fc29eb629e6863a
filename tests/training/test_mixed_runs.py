"""A run on a mixture resumes bit for bit, and its journal has the loss of each corpus."""

import dataclasses
import json

import pytest

from gen.config import Data, mixture
from gen.data import dataset
from gen.errors import UserError
from gen.io import typed_json
from gen.training import loop, run_text, trunks
from gen.training.run_log import journal
from gen.training.run_log.rows import RunResult
from tests.tiny_run import StopAt, without_clocks

pytestmark = pytest.mark.optimized


@pytest.fixture(scope="module")
def mixed(run, corpus, tmp_path_factory):
  """The tiny run on its own text and another, whose weight rises at the end."""
  path = tmp_path_factory.mktemp("other") / "sums.jsonl"
  path.write_text(
    "".join(json.dumps({"text": f"{n} and {n * n} make {n + n * n}"}) + "\n" for n in range(150))
  )
  corpora = (
    mixture.MixtureCorpus("sentences", str(corpus), 0.8),
    mixture.MixtureCorpus("sums", str(path), 0.2, max_epochs=1.0),
  )
  data = dataclasses.replace(run.data, mixture=corpora, mixture_schedule=((0.6, 0.5, 0.5),))
  return dataclasses.replace(run, data=data, evaluate_every=20)


@pytest.fixture(scope="module")
def text(mixed):
  return dataset.load_dataset(mixed.data)


@pytest.fixture(scope="module")
def whole(mixed, text, tmp_path_factory):
  folder = tmp_path_factory.mktemp("mixed")
  result = loop.train_run(mixed, folder, text)
  return result, journal.read_journal(folder / "journal.jsonl")


def test_a_stopped_run_ends_with_the_same_bits(mixed, text, whole, tmp_path):
  for stop_at in (5, 25):
    with pytest.raises(loop.RunStopped):
      loop.train_run(mixed, tmp_path, text, StopAt(stop_at))
  assert without_clocks(loop.train_run(mixed, tmp_path, text)) == without_clocks(whole[0])


def test_the_journal_and_the_result_have_the_loss_of_each_corpus(mixed, text, whole):
  result, rows = whole
  evaluations = [row["corpora"] for row in rows if row["kind"] == "evaluation"]
  assert len(evaluations) == 2 and all(set(each) == {"sentences", "sums"} for each in evaluations)
  for name, corpus in result.corpora.items():
    assert (corpus.loss, corpus.bits_per_byte) == tuple(
      evaluations[-1][name][key] for key in ("loss", "bits_per_byte")
    )
  losses = [corpus.loss for corpus in result.corpora.values()]
  assert min(losses) < result.loss < max(losses)
  assert typed_json.decode_record(RunResult, json.loads(json.dumps(rows[-1])), "row") == result


def test_the_loss_of_a_corpus_is_that_of_a_run_that_evaluates_it_alone(mixed, text, whole, tmp_path):
  alone = dataset.load_dataset(
    dataclasses.replace(mixed.data, corpus=mixed.data.mixture[1].corpus, mixture=(), mixture_schedule=())
  )
  made = run_text.RunText(loop.complete_run(mixed, text), text)
  wanted = run_text.batches.validation_batches(alone.validation, mixed.data)
  assert made._parts["sums"].tokens == wanted.tokens and made._parts["sums"].bytes == wanted.bytes


def test_the_result_says_what_was_read_of_each_corpus(mixed, text, whole):
  result, rows = whole
  start = rows[0]
  assert sum(corpus.share for corpus in result.corpora.values()) == pytest.approx(1)
  assert sum(corpus.tokens for corpus in result.corpora.values()) == pytest.approx(result.tokens, abs=1)
  assert result.epochs == max(corpus.epochs for corpus in result.corpora.values()) == start["epochs"]
  for name, corpus in result.corpora.items():
    assert start["corpora"][name]["share"] == corpus.share
  assert start["corpus"] == "sentences=0.8,sums=0.2 max 1 epochs"


def test_a_limit_is_said_once_and_a_run_that_cannot_be_filled_is_refused(mixed, text, tmp_path):
  long = dataclasses.replace(mixed, steps=400, data=dataclasses.replace(mixed.data, mixture_schedule=()))
  notes = run_text.RunText(loop.complete_run(long, text), text).notes()
  assert sum("sums reaches its most epochs in step" in note for note in notes) == 1
  assert any(note.endswith("its weight goes to sentences") for note in notes)
  corpora = tuple(dataclasses.replace(corpus, max_epochs=1.0) for corpus in mixed.data.mixture)
  short = dataclasses.replace(long, data=dataclasses.replace(long.data, mixture=corpora))
  with pytest.raises(
    UserError, match=r"data.mixture cannot fill the run: the most epochs of sentences, sums end"
  ):
    loop.train_run(short, tmp_path, text)
  assert not (tmp_path / "checkpoints").exists() or not any((tmp_path / "checkpoints").iterdir())


def test_unique_tokens_are_said_as_epochs(run, data):
  limited = dataclasses.replace(run, data=dataclasses.replace(run.data, unique_tokens=600))
  text = run_text.RunText(loop.complete_run(limited, data), data)
  assert text.epochs == pytest.approx(37 * 3 * 24 / 600) and text.unique_tokens == 600
  assert text.notes()[0].startswith(
    "reads 4.4 epochs of 600 training tokens; text read more than about 4 times"
  )


def test_a_branch_shares_its_trunk_up_to_a_schedule_in_its_decay(mixed, text, tmp_path):
  decay = mixed.optimizer.decay
  late = dataclasses.replace(mixed.data, mixture_schedule=((1 - decay, 0.0, 1.0),))
  branch = dataclasses.replace(mixed, trunk="trunk", data=late)
  alone = loop.train_run(dataclasses.replace(branch, trunk=""), tmp_path / "alone", text)
  assert trunks.train_branch(branch, tmp_path / "branch", text).loss == alone.loss
  early = dataclasses.replace(
    mixed, trunk="trunk", data=dataclasses.replace(late, mixture_schedule=((0.1, 0, 1),))
  )
  with pytest.raises(
    UserError, match=r"data.mixture_schedule changes the weights at 0.1 of the run, before its"
  ):
    trunks.train_branch(early, tmp_path / "early", text)


def test_a_schedule_forbids_another_length_in_the_same_folder(mixed, text, tmp_path):
  with pytest.raises(loop.RunStopped):
    loop.train_run(mixed, tmp_path, text, StopAt(5))
  with pytest.raises(UserError, match=r"its data.mixture_schedule depends on the length"):
    loop.train_run(dataclasses.replace(mixed, steps=74), tmp_path, text)


def test_the_default_config_reads_no_mixture():
  assert Data().mixture == () and Data().unique_tokens == 0
