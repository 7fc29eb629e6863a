"""A study's finished runs are found, rounded and measured once; what was measured is kept."""

import json

import jax
import numpy as np
import pytest

from gen.config import Data, Model, Run, config_hash, to_dict
from gen.data.tokenizers.tokenizer import ByteTokenizer
from gen.errors import UserError
from gen.io import checksums
from gen.models import language_model
from gen.quantization import comparison
from gen.scaling.precision import precision_figure, precision_law, precision_study
from gen.training.checkpointing.checkpoints import Checkpoints
from gen.training.run_folders import run_folder
from gen.training.run_log.journal import Journal


def write_run(folder, corpus, cache, width, finished=True):
  """Writes the folder of a run with random parameters."""
  data = Data(
    corpus=str(corpus), cache=str(cache), tokenizer="bytes", length=16, batch=4, validation_tokens=256,
    validation_fraction=0.3,
  )  # fmt: skip
  model = Model(vocab=ByteTokenizer().vocab, width=width, depth=1, head_width=4, context=16)
  run = Run(name=folder.name, model=model, data=data, steps=3)
  params = jax.tree.map(
    lambda leaf: np.random.default_rng(width).normal(size=leaf.shape).astype(np.float32),
    language_model.parameter_shapes(model),
  )
  meta = {"config": to_dict(run), "run": config_hash(run), "tokenizer": ByteTokenizer().hash}
  with Checkpoints(folder / "checkpoints") as checkpoints:
    checkpoints.save(3, {"params": params}, meta)
  checksums.write_atomically(folder / run_folder.CONFIG, run_folder.config_text(run))
  with Journal(folder / run_folder.JOURNAL) as journal:
    if finished:
      journal.append(
        {"kind": "result", "steps": 3, "params": 100 * width, "tokens": 4000, "name": folder.name}
      )


@pytest.fixture(scope="module")
def study(tmp_path_factory):
  folder = tmp_path_factory.mktemp("study")
  corpus = folder / "text.jsonl"
  corpus.write_text("".join(json.dumps({"text": f"a row of words and {n} more"}) + "\n" for n in range(60)))
  for name, width, finished in (("large", 8, True), ("small", 4, True), ("half", 4, False)):
    (folder / "runs" / name).mkdir(parents=True)
    write_run(folder / "runs" / name, corpus, folder / "cache", width, finished)
  (folder / "runs" / "logs").mkdir()
  return folder / "runs"


def test_finished_runs_are_measured_once_and_a_cut_line_is_measured_again(study, tmp_path, monkeypatch):
  runs = precision_study.find_runs(study)
  assert [(each.folder.name, each.params, each.tokens) for each in runs] == [
    ("small", 400, 4000),
    ("large", 800, 4000),
  ]
  lines = []
  rows = precision_study.measure_runs(runs, (8, 3), tmp_path, lines.append)
  assert [(row.run, row.bits) for row in rows] == [("small", 8), ("small", 3), ("large", 8), ("large", 3)]
  assert all(abs(rows[i].added) < abs(rows[i + 1].added) for i in (0, 2))
  assert all(row.low <= row.added <= row.high for row in rows)
  path = tmp_path / precision_study.MEASUREMENTS
  text = path.read_text()
  path.write_text(text[: len(text) - 30])
  measured = []
  batch_losses = comparison.batch_losses
  monkeypatch.setattr(comparison, "batch_losses", lambda *words: measured.append(1) or batch_losses(*words))
  again = precision_study.measure_runs(runs, (8, 3), tmp_path, lines.append)
  assert len(measured) == 2 and again == rows  # the float model and the one that was cut off
  assert len(path.read_text().splitlines()) == 4
  assert precision_study.measure_runs(runs, (3,), tmp_path, lines.append) == [rows[1], rows[3]]
  assert len(measured) == 2


def test_a_figure_is_drawn_of_measurements_and_law(tmp_path):
  law = precision_law.PrecisionLaw(0.4, 0.5, 0.35, 0.8)
  rows = [
    precision_law.RoundedLoss(f"{N}-{ratio}", N, N * ratio, bits, 3.0, added, 0.9 * added, 1.1 * added)
    for N in (1e4, 3e4, 1e5)
    for ratio in (10, 40)
    for bits in (3, 4, 8)
    for added in [law.added_loss(N, N * ratio, bits)]
  ]
  precision_figure.write_figure(precision_law.fit_precision(rows, 5), rows, tmp_path)
  assert (tmp_path / "precision_law.png").stat().st_size > 10_000


def test_a_folder_without_finished_runs_is_refused(tmp_path):
  (tmp_path / "logs").mkdir()
  for folder, sentence in ((tmp_path, "holds no finished run"), (tmp_path / "none", "is not a folder")):
    with pytest.raises(UserError, match=sentence):
      precision_study.find_runs(folder)
