"""Fine-tuning follows transformers on PyTorch step by step, as scripts/make_tuning_fixtures.py recorded it."""

import dataclasses
import json
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from gen.config.heads import HeadConfig
from gen.finetuning import trained_part, tuning_step
from gen.finetuning.adapters import lora_reading
from gen.finetuning.settings import FinetuneSettings
from gen.finetuning.task_forms.encoded_rows import EncodedRow
from gen.finetuning.tuner import Tuner
from gen.interop import huggingface
from gen.interop.parameters import flatten_tree, unflatten_tree
from gen.training.hooks import NoHooks
from gen.training.run_log.journal import Journal

RECORDED = json.loads((Path(__file__).parent / "tuning_parity.json").read_text())
CHECKPOINTS, ADAPTERS = Path(__file__).parents[1] / "interop/fixtures", Path(__file__).parent / "adapters"
IGNORED = -100  # a target without loss, in the recorded rows


class RecordedOrder:
  """The recorded rows of each step, in the one padded length that all rows have."""

  steps_per_epoch, lengths, padded_tokens = len(RECORDED["cases"][0]["order"]), (8,), 0

  def __init__(self, order):
    self._order = order

  def at(self, step):
    return np.array(self._order[step]), 0


def encoded_row(number, row, described):
  """Returns a recorded row as the forms make it."""
  ids, hf = row["ids"], described.hf
  if "answer" in row:
    target = row["answer"]
    shifted = [hf["decoder_start_token_id"], *target[:-1]]
    return EncodedRow(number, shifted, target, [1.0] * len(target), source=ids)
  if "target" in row and described.config.family == "encoder_decoder":
    shifted = [hf["decoder_start_token_id"], *ids[:-1]]
    return EncodedRow(number, shifted, (row["target"],), (1.0,), source=ids)
  targets = [row["target"]] if "target" in row else row["targets"]
  if described.task is None:  # each token predicts the next one
    ids, targets = ids[:-1], targets[1:]
  weights = [float(target != IGNORED) for target in targets]
  return EncodedRow(number, ids, [max(0, target) for target in targets], weights, row.get("types", ()))


def tuned(case, folder):
  """Returns a model after the recorded steps, its parameters, and the loss of each step."""
  described, params = huggingface.load_checkpoint(CHECKPOINTS / case["checkpoint"])
  model = dataclasses.replace(described.config, dropout=0.0, scan=True)  # compiles one layer
  head = dataclasses.replace(described.task or HeadConfig("none"), dropout=0.0)
  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
  steps = len(case["order"])
  settings = FinetuneSettings(
    case["task"], "start", "data", steps=steps, batch=RECORDED["batch"], dropout=0.0, max_shapes=1,
    evaluate_every=steps, **RECORDED["settings"],
  )  # fmt: skip
  trained, frozen = trained_part.split_parameters(params, model, head, "full")
  adapters = None
  if case["adapters"]:
    given = lora_reading.load_adapters(ADAPTERS / case["adapters"], described)
    adapters, frozen = given.lora, params
    whole = flatten_tree(given.whole)
    frozen = unflatten_tree({path: leaf for path, leaf in flatten_tree(params).items() if path not in whole})
    trained = {trained_part.PARAMETERS: given.whole, trained_part.ADAPTERS: given.adapters}
  programs = tuning_step.tuning_programs(model, head, settings.optimizer_config, adapters)
  rows = [encoded_row(number, row, described) for number, row in enumerate(case["rows"])]
  targets = {"classify": 1, "span": 2}.get(head.kind, 0)
  tuner = Tuner(programs, trained, frozen, rows, targets, settings, lambda _: 0.0, {})
  tuner.order = RecordedOrder(case["order"])
  with Journal(folder / "journal.jsonl") as journal:
    outcome = tuner.run(folder / "training", journal, NoHooks())
  journal_rows = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
  losses = [row["loss"] for row in journal_rows if row["kind"] == "train"]
  return described, programs.complete(outcome.trained, frozen), losses


def keep(case, described, params, losses):
  """Keeps a tuned model for `make_tuning_fixtures.py --check`, where GEN_TUNED names a folder."""
  if os.environ.get("GEN_TUNED"):
    folder = Path(os.environ["GEN_TUNED"]) / named(case)
    huggingface.save_checkpoint(
      folder, dataclasses.replace(described.config, dropout=0.0), params, described.task
    )
    (folder / "losses.json").write_text(json.dumps([losses, case["losses"]]))
    end = described.hf.get("eos_token_id") or 3
    inputs = {"input_ids": np.array([[4, 7, 6, 8, end], [5, 9, 3, 4, end]])}
    if described.config.family == "encoder_decoder" and described.task is None:
      inputs["decoder_input_ids"] = np.array([[2, 8, 3], [0, 6, 9]])
    save_file(
      inputs | {"logits": huggingface.forward_pass(described, params, **inputs)},
      folder / "answers.safetensors",
    )


# Each takes seconds to compile, so two of them are in the default set of tests.
USUAL = ("bert-classify", "gpt2-lm")


def named(case):
  return case["checkpoint"] + ("@lora" if case["adapters"] else "")


@pytest.mark.parametrize(
  "case",
  [
    pytest.param(case, id=named(case), marks=() if named(case) in USUAL else pytest.mark.process)
    for case in RECORDED["cases"]
  ],
)
def test_the_loss_of_each_step_is_that_of_transformers(case, tmp_path):
  described, params, losses = tuned(case, tmp_path)
  assert losses[-1] < 0.9 * losses[0]
  np.testing.assert_allclose(losses, case["losses"], rtol=0, atol=1e-3)
  keep(case, described, params, losses)
