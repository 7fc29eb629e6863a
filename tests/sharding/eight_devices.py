"""Runs on eight simulated devices, for the tests beside it, and prints what it found as JSON.

python -m tests.sharding.eight_devices losses FAMILY[@OPTIMIZER[+groups]][:LAYOUT,LAYOUT] ...
python -m tests.sharding.eight_devices trainer FOLDER
"""

import contextlib
import dataclasses
import json
import os
import re
import sys
from pathlib import Path

from gen.cli import environment as launch_environment  # without jax

# Whoever only imports this, as the search for doctests does, keeps its own devices.
if __name__ == "__main__":
  # Tiny programs: what the compiler would win by optimizing it would not earn back.
  os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
  os.environ["JAX_PLATFORMS"] = "cpu"
  launch_environment.give_simulated_devices_threads()

import jax
import numpy as np

from gen.config import RECURRENT, Data, Model, Optimizer, Run
from gen.costs import memory, step_benchmark
from gen.data import dataset
from gen.io import typed_json
from gen.optimizers import schedule_params
from gen.sharding import layouts
from gen.training import compiled_step, loop, step
from tests import tiny_run

STEPS = 20
FAMILIES = {
  "decoder": {
    "positions": "learned",
    "tied": True,
    "bias": True,
    "norm_bias": True,
    "scan": True,
    "depth": 2,
  },
  "encoder": {},
  "encoder_decoder": {"key_value_heads": 1, "remat": "dots"},
  "rnn": {},
  "lstm": {"carry": True, "depth": 2},
  "gru": {"residual": True},
}
LAYOUTS = {
  "ddp": ("data=8", "ddp"),
  "zero1": ("data=8", "zero1"),
  "zero2": ("data=8", "zero2"),
  "zero3": ("data=8", "zero3"),
  "tensor x fsdp": ("fsdp=2,tensor=4", "ddp"),
  "all three": ("data=2,fsdp=2,tensor=2", "zero1"),
}


def run_of(name):
  """Returns a tiny run of FAMILY[@OPTIMIZER[+groups]]; groups are frozen parameters and two learning rates.

  A multi-query key head, which tensor parallelism cannot split, is among them.
  """
  family, _, optimizer = name.partition("@")
  optimizer, _, groups = optimizer.partition("+")
  recurrent = family in RECURRENT
  architecture = Model() if family == "decoder" else step_benchmark.ARCHITECTURES.get(family, Model())
  sizes = {"vocab": 160, "width": 16, "depth": 1}
  sizes |= {} if recurrent else {"heads": 8, "head_width": 4, "feed_forward": 24, "context": 16}
  return Run(
    model=dataclasses.replace(architecture, **{"family": family} | sizes | FAMILIES[family]),
    data=Data(
      length=16, batch=16, objective=step_benchmark.OBJECTIVES.get(family, "causal"), stream=family == "lstm"
    ),
    optimizer=Optimizer(
      name=optimizer or "adamw",
      peak_learning_rate=3e-3 if optimizer == "lion" else 1e-2,
      microbatches=1 if recurrent else 2,
      frozen=("embedding", "*/attention/query") if groups else (),
      rate_multipliers=("*/feed_forward=2",) if groups else (),
    ),
    steps=STEPS,
  )


def placed(state, place):
  """Returns a state where it shall lie, from arrays of this machine's own."""
  state = jax.tree.map(np.array, state)  # A copy: steps write into the buffers that they are given.
  if place is None:
    return state
  here = step.TrainState(*[place.replicated] * 5, place.recurrent_state)
  here = here._replace(params=place.parameters, opt_state=place.opt_state)
  shardings = jax.tree.map(lambda where, part: jax.tree.map(lambda _: where, part), here, state)
  return jax.tree.map(jax.device_put, state, shardings)


def train(run, layout, start):
  """Returns the losses of all steps, the last state, and the compiled step."""
  programs = compiled_step.step_programs(run.model, run.optimizer, layout)
  state = placed(step.with_recurrent_state(start, run.model, run.data.batch), programs.shardings)
  stack, over, compiled, losses = (
    step_benchmark.random_batches(run).stack(0, STEPS),
    schedule_params(run.optimizer, STEPS),
    None,
    [],
  )
  for index in range(STEPS):
    batch = jax.tree.map(lambda x, i=index: x[i : i + 1], stack)
    batch = batch if layout is None else programs.shardings.stack(batch)
    compiled = compiled or programs.train.lower(state, batch, 1, over).compile()
    state, sums = compiled(state, batch, 1, over)
    losses.append(float(sums.loss) / float(sums.weight))
  return losses, state, compiled


def held(tree):
  """Returns bytes of a tree on the first device, and of the whole."""
  leaves = jax.tree.leaves(tree)
  return sum(x.addressable_shards[0].data.nbytes for x in leaves), sum(x.nbytes for x in leaves)


def accumulated(run, text):
  """Returns the shapes of one feed-forward kernel that the loop over microbatches carries."""
  width, hidden, found = run.model.width, run.model.feed_forward_width, []
  for carried, name in re.findall(r"= (\(.*?\)) while\(.*?op_name=\"([^\"]*)\"", text):
    if name.endswith("while/body/while"):
      found += re.findall(rf"f32\[{run.model.depth},(?:{width},{hidden}|{width // 8},{hidden})\]", carried)
  return found


def losses(family, names):
  run = run_of(family)
  start = compiled_step.step_programs(run.model, run.optimizer).initialize(np.uint32(3))
  found = {"alone": {"losses": train(run, None, start)[0]}}
  for name in names:
    axes, stage = LAYOUTS[name]
    here = dataclasses.replace(run, mesh=axes, layout=stage)
    each, state, compiled = train(run, layouts.layout_of_run(here), start)
    predicted = memory.run_footprint(here)
    found[name] = {
      "losses": each,
      "params": held(state.params),
      "moments": held(state.opt_state),
      "live": held(state)[0],
      "predicted": predicted._asdict() | {"live": predicted.live},
      "arguments": compiled.memory_analysis().argument_size_in_bytes,
      "accumulated": accumulated(run, compiled.as_text()),
    }
  return found


def trainer(folder):
  """Trains through three layouts, one after the other from the same checkpoints, and without a stop on one device."""
  folder = Path(folder)
  tiny = tiny_run.make_run(tiny_run.write_corpus(folder), folder / "cache")
  sizes = {
    "width": 16,
    "depth": 1,
    "head_width": 8,
    "dropout": 0.0,
  }  # that eight devices divide; no random numbers
  run = dataclasses.replace(
    tiny,
    model=dataclasses.replace(tiny.model, **sizes),
    data=dataclasses.replace(tiny.data, length=16, batch=8),
    steps=12,
    log_every=1,
    steps_per_dispatch=2,
  )
  text = dataset.load_dataset(run.data)
  whole = loop.train_run(run, folder / "whole", text)
  for mesh_, layout, stop in (("data=8", "zero3", 4), ("", "ddp", 8)):
    with contextlib.suppress(loop.RunStopped):
      loop.train_run(
        dataclasses.replace(run, mesh=mesh_, layout=layout), folder / "moved", text, tiny_run.StopAt(stop)
      )
  result = loop.train_run(dataclasses.replace(run, mesh="fsdp=4,tensor=2"), folder / "moved", text)
  return {"whole": typed_json.encode_record(whole), "moved": typed_json.encode_record(result)}


if __name__ == "__main__":
  if sys.argv[1] == "losses":
    words = [word.partition(":") for word in sys.argv[2:]]
    print(
      json.dumps({name: losses(name, given.split(",") if given else LAYOUTS) for name, _, given in words})
    )
  else:
    print(json.dumps(trainer(sys.argv[2])))
