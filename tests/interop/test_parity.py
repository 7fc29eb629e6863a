"""Answers of transformers, recorded by scripts/make_parity_fixtures.py, are the answers here."""

import collections
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import deserialize
from safetensors.numpy import load_file

from gen.interop import huggingface
from gen.interop.architectures import registry

FIXTURES = sorted(path.parent for path in Path(__file__).parent.glob("fixtures/*/config.json"))


def copied(fixture, folder):
  """Copies the checkpoint of a fixture without its answers."""
  shutil.copytree(fixture, folder, ignore=shutil.ignore_patterns("answers.safetensors"))
  return folder


def contents(folder):
  """Returns what each file says of each tensor: name, type, shape and bytes."""
  return {
    (path.name, name): (each["dtype"], each["shape"], bytes(each["data"]))
    for path in folder.glob("*.safetensors")
    for name, each in deserialize(path.read_bytes())
  }


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_outputs_are_those_of_transformers_and_saving_gives_equal_bytes(fixture, tmp_path):
  folder = copied(fixture, tmp_path / "one")
  model, params = huggingface.load_checkpoint(folder)
  huggingface.save_checkpoint(tmp_path / "two", model, params)
  assert contents(tmp_path / "two") == contents(folder)
  calls = collections.defaultdict(dict)
  for name, array in load_file(fixture / "answers.safetensors").items():
    calls[name.split(".")[0]][name.split(".")[1]] = array
  assert len(calls) == 4
  for call in calls.values():
    answer, counts = call.pop("answer"), call.pop("counts") != 0
    given = huggingface.forward_pass(model, params, **call)
    assert given.shape == answer.shape and given.dtype == np.float32
    np.testing.assert_allclose(given[counts], answer[counts], rtol=0, atol=1e-4)


def test_there_are_fixtures_of_every_architecture():
  named = {json.loads((path / "config.json").read_text())["model_type"] for path in FIXTURES}
  assert named == set(registry.ARCHITECTURES)
