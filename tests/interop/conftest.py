"""A checkpoint of the fixtures, to be changed as a test wants it."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

FIXTURES = Path(__file__).parent / "fixtures"


class Editable:
  """A copy of a fixture: its config and its tensors, written again when they are changed."""

  def __init__(self, folder):
    self.folder = folder

  def config(self, **changes):
    """Changes values of config.json; None deletes one."""
    path = self.folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return self

  def tensors(self, change, file="model.safetensors"):
    """Applies a function to the dictionary of tensors."""
    tensors = load_file(self.folder / file)
    change(tensors)
    save_file(tensors, self.folder / file, {"format": "pt"})
    return self


@pytest.fixture
def checkpoint(tmp_path):
  def copy(name):
    folder = tmp_path / name
    shutil.copytree(FIXTURES / name, folder, ignore=shutil.ignore_patterns("answers.safetensors"))
    return Editable(folder)

  return copy
