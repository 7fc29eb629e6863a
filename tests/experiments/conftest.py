"""Experiments that are called in this process, through their own entry, as a shell would call them."""

import importlib.util
import sys
from pathlib import Path

import pytest
from absl import flags

from gen.cli import launch

LIBRARIES = ("absl", "array_record")  # read their own flags while they run
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def experiment(request):
  """The module of the experiment that the test module names in EXPERIMENT, its flags the only ones but libraries'.

  Other experiments' flags, loaded by other tests of this process, are put away until the module's tests end.
  """
  modules = flags.FLAGS.flags_by_module_dict()
  libraries = {flag.name for name, found in modules.items() if name.startswith(LIBRARIES) for flag in found}
  others = {name: flags.FLAGS[name] for name in flags.FLAGS if flags.FLAGS[name].name not in libraries}
  for name in others:
    delattr(flags.FLAGS, name)
  before, script = set(flags.FLAGS), EXPERIMENTS / request.module.EXPERIMENT
  spec = importlib.util.spec_from_file_location(script.stem, script)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  module.own_flags = sorted(set(flags.FLAGS) - before)
  yield module
  for name in module.own_flags:
    delattr(flags.FLAGS, name)
  for name, flag in others.items():
    flags.FLAGS[name] = flag


@pytest.fixture
def run(experiment, monkeypatch, capsys):
  """Runs the experiment; returns (exit code, standard output, standard error)."""

  def call(*words):
    for name in experiment.own_flags:
      flags.FLAGS[name].unparse()
    monkeypatch.setattr(sys, "argv", [experiment.__name__, *map(str, words)])
    with pytest.raises(SystemExit) as ended:
      launch.run_experiment(experiment.main, trains=False)
    text = capsys.readouterr()
    return ended.value.code, text.out, text.err

  return call
