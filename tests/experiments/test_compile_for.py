"""The tool that compiles for absent chips, here for a device that is there: its report follows from the compiler."""

import dataclasses
import json
from pathlib import Path

import jax
import pytest
from absl import flags

from gen import counts, presets
from gen.config import Data, Run
from gen.costs import memory, topologies
from gen.errors import UserError
from tests import programs

EXPERIMENT = "compile_for.py"
ROOT = Path(__file__).parents[2]
MODEL = dataclasses.replace(presets.get_model("t5-small"), depth=1, width=16, vocab=64)
RUN = Run(model=MODEL, data=Data(objective="span_corruption", length=20, batch=3), steps=1)


@pytest.fixture
def compile_for(experiment, monkeypatch, capsys):
  """Runs the experiment for one device of this machine in place of a chip; returns its code and what it prints."""
  monkeypatch.setattr(topologies, "topology_devices", lambda topology: jax.devices()[: topology.chips])

  def call(run, *words):
    for name in experiment.own_flags:
      flags.FLAGS[name].unparse()
    flags.FLAGS([experiment.__name__, *words])
    return experiment.main(run), capsys.readouterr().out

  return call


def test_what_fits_and_how_long_it_takes_follow_from_compiler_and_counts(compile_for, monkeypatch):
  code, out = compile_for(RUN, "--topology=v5e:1x1", "--utilization=0.25", "--json=-")
  found = json.loads(out)
  assert code == 0 and found["fits"] and found["chips"] == 1 and found["mesh"] == "fsdp=1"
  assert found["parameters"] == counts.count_parameters(MODEL).total
  assert found["peak_bytes_per_device"] > found["argument_bytes_per_device"] > 12 * found["parameters"]
  assert found["step_seconds"] == pytest.approx(found["flops_per_step"] / (0.25 * 197e12))
  tiny = topologies.CHIPS["v5e"]._replace(memory=found["peak_bytes_per_device"] - 1)
  monkeypatch.setitem(topologies.CHIPS, "v5e", tiny)
  sizes = memory.CompiledSizes(found["argument_bytes_per_device"], 0, found["peak_bytes_per_device"])
  monkeypatch.setattr(memory, "compile_step", lambda run, layout: (sizes, ""))
  code, out = compile_for(RUN, "--topology=v5e:1x1", "--json=")
  assert code == 1 and "does not fit" in out and "--config.model.remat=full" in out


@pytest.mark.parametrize(
  ("words", "run", "sentence"),
  [
    (("--topology=b200:8",), RUN, "unknown chip 'b200'"),
    (("--utilization=0",), RUN, "--utilization=0: give a share above 0"),
    (("--topology=v5e:2x2",), dataclasses.replace(RUN, mesh="fsdp=2,data=4"), "data.batch is 3 rows"),
  ],
)
def test_a_mistake_is_one_sentence(compile_for, words, run, sentence):
  with pytest.raises(UserError, match=sentence):
    compile_for(run, *words)


def test_a_preset_is_named_by_a_flag_and_a_wrong_one_refused_from_the_shell():
  done = programs.run(["experiments/compile_for.py", "--preset=gtp2", "--config.data.batch=4"])
  assert (done.returncode, done.stderr) == (2, "error: there is no preset 'gtp2'; the nearest is 'gpt2'\n")
