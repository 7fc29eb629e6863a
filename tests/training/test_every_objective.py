"""Every objective of the registry trains a model of every family that can learn it, named as a config names it."""

import json
import math

import jax
import numpy as np
import pytest

from gen import config
from gen.config import Data, Model, Optimizer, Run
from gen.data import batches, dataset, objectives
from gen.models import language_model
from gen.training import loop, step
from gen.training.checkpointing.checkpoints import Checkpoints

TRANSFORMERS = ("encoder", "decoder", "encoder_decoder")
PAIRS = [
  (name, family)
  for name in objectives.OBJECTIVES
  for family in objectives.families_of(name)
  if family in TRANSFORMERS
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
  folder = tmp_path_factory.mktemp("objectives")
  rng = np.random.default_rng(0)
  words = "the model reads a row of tokens and predicts what comes next while its loss falls".split()  # noqa: SIM905
  with (folder / "text.jsonl").open("w") as file:
    for _ in range(120):
      sentences = [" ".join(rng.choice(words, rng.integers(3, 9))) + "." for _ in range(rng.integers(1, 4))]
      file.write(json.dumps({"text": " ".join(sentences)}) + "\n")
  return folder


def run_of(place, objective, family):
  return Run(
    model=Model(
      family=family, vocab=400, width=8, depth=1, head_width=4
    ),  # one vocab: fewer programs to compile
    data=Data(
      corpus=str(place / "text.jsonl"),
      objective=objective,
      length=40,
      batch=2,
      validation_fraction=0.3,
      validation_tokens=100,
      cache=str(place / "cache"),
    ),
    optimizer=Optimizer(peak_learning_rate=1e-2),
    steps=2,
    steps_per_dispatch=2,
    keep_checkpoints=1,
  )


@pytest.fixture(scope="module")
def data(place):
  return dataset.load_dataset(run_of(place, "causal", "decoder").data)


@pytest.mark.parametrize(
  ("objective", "family"),
  # Encoder-decoders take twice as long to compile; without --all, span corruption stands for their objectives.
  [
    pytest.param(*pair, marks=pytest.mark.slow)
    if pair[1] == "encoder_decoder" and pair[0] != "span_corruption"
    else pair
    for pair in PAIRS
  ],
)
def test_two_steps_of_an_objective(place, data, tmp_path, objective, family):
  run = run_of(place, objective, family)
  result = loop.train_run(run, tmp_path, data)
  assert result.steps == 2 and (result.objective, result.family) == (objective, family)
  assert 0 < result.loss < 3 * math.log(400)
  row = loop.row_length(run)
  assert result.tokens == 2 * 2 * row.tokens
  assert result.positions == 2 * 2 * (row.source + row.target)
  assert 0 < result.loss_tokens <= 2 * 2 * row.target
  assert result.skipped == 0


@pytest.mark.slow
def test_a_decoder_is_judged_on_continuations_after_prefixes_seen_both_ways(place, data, tmp_path):
  run = run_of(place, "prefix", "decoder")
  run.model.depth = 2  # in the first layer, those who bear loss see the same with a prefix as without
  result = loop.train_run(run, tmp_path, data)
  model = config.from_dict(Run, result.config).model
  with Checkpoints(tmp_path / "checkpoints") as checkpoints:
    state, _ = checkpoints.restore(jax.eval_shape(lambda: step.initialize_state(model, run.optimizer, 0)))
  logits_of = jax.jit(language_model.build_model(model).apply)
  found = {True: [], False: []}  # by whether the prefix is given: nats of each continuation token
  for batch in batches.validation_batches(
    data.validation, run.data, batches.make_objective(run.data, data.tokenizer)
  ).batches:
    assert batch.prefix_bt.any()
    for with_prefix, nats in found.items():
      given = {"prefix_bt": batch.prefix_bt} if with_prefix else {}
      places = {"segments_bt": batch.segments_bt, "positions_bt": batch.positions_bt}
      logits_btv = logits_of({"params": state.params}, batch.inputs_bt, **places, **given)
      nats_btv = -np.asarray(jax.nn.log_softmax(logits_btv))
      nats_bt = np.take_along_axis(nats_btv, batch.targets_bt[..., None], axis=2)[..., 0]
      nats.extend(nats_bt[batch.weights_bt > 0])
  assert result.loss == pytest.approx(np.mean(found[True]), rel=1e-5)
  assert abs(result.loss - np.mean(found[False])) > 1e-4 * result.loss


def test_loss_bearing_tokens_are_those_that_the_batches_weigh(place, data, tmp_path):
  run = run_of(place, "span_corruption", "encoder_decoder")
  result = loop.train_run(run, tmp_path, data)
  made = batches.Batches(data.train, run.data, run.seed)
  assert result.loss_tokens == sum(made.at(step).weights_bt.sum() for step in range(2))


def test_a_prefix_is_a_source_to_an_encoder_decoder_and_a_beginning_to_a_decoder(place):
  assert loop.row_length(run_of(place, "prefix", "encoder_decoder")) == (40, 40, 40)
  assert loop.row_length(run_of(place, "prefix", "decoder")) == (40, 40, 0)
