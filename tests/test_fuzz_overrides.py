"""Whatever a command line sets in a config, the run is one that can be, or one sentence and exit code 2 say why not."""

import dataclasses
import sys

import pytest
from absl import flags

from gen import counts
from gen.cli import launch
from gen.config import Run, Sweep, config_hash, from_dict, to_dict, validation

NUMBERS = (
  "nan",
  "-inf",
  "1e400",
  "-1",
  "0",
  "0x10",
  "1e30",
  "10^30",
  "9" * 5000,
  "1.5",
  "1M",
  "2Ki",
  "-0.0",
  "3_000",
)
TEXTS = (
  "",
  "1;2",
  "x" * 5000,
  "None",
  "[" * 200,
  "{}",
  "__import__('os')",
  "a=b",
  "../x",
  "\0",
  "漢",
  "\ud800",
)
VALUES = (*NUMBERS, *TEXTS, "True", "()", "(1e9, 2)", "((8, 16), (8,))")
NAMES = ("", "x", "model", "model.widht", "lr", "model.width.height", "__class__", "model..width", "größe")
CONFIGS = {Run: "configs/decoder.py", Sweep: "configs/smoke.py"}


def paths(kind, prefix=""):
  """Returns the paths of a config's fields with their types."""
  found = {}
  for field in dataclasses.fields(kind):
    inner = dataclasses.is_dataclass(field.type)
    found |= paths(field.type, f"{prefix}{field.name}.") if inner else {prefix + field.name: field.type}
  return found


def likely(rng, kind):
  """Returns a value of about a field's type."""
  if kind in (int, float):
    return rng.choice(("1", "2", "8", "64", "1e3", "4k", "0.5", "1e-3", "96"))
  return rng.choice(
    (
      "True",
      "False",
      "decoder",
      "lstm",
      "bytes",
      "causal",
      "(1e9, 2e9)",
      "((8, 16), (8, 16))",
      "alibi",
      "bfloat16",
    )
  )


def words(rng, kind):
  """Returns up to six overrides, most of which name a field."""
  fields, given = paths(kind), []
  for _ in range(rng.randint(1, 6)):
    path = rng.choice(list(fields)) if rng.random() < 0.95 else rng.choice(NAMES)
    value = likely(rng, fields.get(path)) if rng.random() < 0.8 else rng.choice(VALUES)
    given.append(f"--config.{path}={value}" if rng.random() < 0.97 else f"--config.{path}")
  return given


def looked_at(run):
  """Does what a run's config is asked for before anything is built."""
  validation.check_run(run, horizon=not isinstance(run, Sweep))
  assert from_dict(type(run), to_dict(run)) == run and len(config_hash(run)) > 8
  assert counts.count_parameters(dataclasses.replace(run.model, vocab=run.model.vocab or 260)).total > 0


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_any_overrides_are_a_run_that_can_be_or_one_sentence(fuzz, kind, monkeypatch, capsys):
  before = set(flags.FLAGS)
  for rng in fuzz.rounds():
    given = words(rng, kind)
    monkeypatch.setattr(sys, "argv", ["experiment", *given])
    try:
      with pytest.raises(SystemExit) as ended:
        launch.run_experiment(looked_at, kind, CONFIGS[kind], trains=False)
    finally:
      for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)
    told = capsys.readouterr().err
    assert ended.value.code == 0 or (ended.value.code == 2 and told.startswith("error: ")), given
    assert told.count("\n") <= 1 and len(told) < 2000, given
