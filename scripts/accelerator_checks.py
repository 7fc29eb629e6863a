"""The checks of `scripts/check_accelerator.py`: each is a function of sizes that returns rows of its table.

The CPU's numbers come from another process, because a process that has an accelerator traces its programs for that.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen import presets
from gen.config import Data, Model, Optimizer, Run
from gen.costs import memory, step_benchmark
from gen.data import dataset
from gen.errors import UserError
from gen.generation.decoding import decode
from gen.generation.decoding.sampling import Sampler
from gen.models import language_model
from gen.sharding import chip_peaks
from gen.training import hooks, loop, step
from gen.training.run_log.rows import RowValues

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = ("decoder", "encoder", "encoder_decoder", "lstm")
# Largest relative errors of the loss and of the gradient (in the L2 norm) against the CPU's in float32. Products in
# bfloat16 have 8 bits, so the gradient of a few layers is off by about one percent.
TOLERANCES = {"float32": (1e-5, 1e-3), "bfloat16": (1e-2, 5e-2)}
MEMORY_TOLERANCE = 0.25  # of the predicted peak, relative to the live one
MATCHING_SHARE = 0.99  # of generated tokens that must be the most likely ones of a forward pass
WORDS = "the model reads a row of tokens and predicts what comes next while its loss falls".split()  # noqa: SIM905


class CheckRow(NamedTuple):
  """One line of the table.

  Attributes:
    check: name of the check.
    quantity: what was measured.
    value: the number, or the reason why there is none.
    limit: what it has to be; empty if nothing is demanded.
    passed: None where nothing is demanded, or the check does not apply.
  """

  check: str
  quantity: str
  value: float | str | None
  limit: str = ""
  passed: bool | None = None


class Gradient(NamedTuple):
  """The mean loss of a batch, and its gradient as one vector."""

  loss: float
  gradient: np.ndarray


def small_run(family: str, width: int = 64, length: int = 128) -> Run:
  """Returns a run of two layers of a family, on random text."""
  sizes: dict[str, Any] = {"width": width, "depth": 2, "vocab": 256, "context": length, "dtype": "float32"}
  if family in step_benchmark.ARCHITECTURES:
    sizes |= {"heads": 2, "head_width": width // 2}
  model = step_benchmark.benchmark_model(family, **sizes)
  objective = step_benchmark.OBJECTIVES.get(family, "causal")
  return Run(model=model, data=Data(length=length, batch=4, objective=objective), steps=1)


def compute_gradient(run: Run, params: Any) -> Gradient:
  """Returns the loss and gradient of the run's first batch by this process's device."""
  batch, terms = step_benchmark.random_batches(run).at(0), step.loss_terms(run.model, Optimizer())

  def mean_loss(params: Any) -> jax.Array:
    sums = step.batch_loss(run.model, terms, params, batch)
    return sums.loss / sums.weight

  loss, gradient = jax.jit(jax.value_and_grad(mean_loss))(params)
  leaves = [np.asarray(leaf, np.float64).reshape(-1) for leaf in jax.tree.leaves(gradient)]
  return Gradient(float(loss), np.concatenate(leaves))


def relative_errors(ours: Gradient, reference: Gradient) -> tuple[float, float]:
  """Returns the relative errors of the loss and of the gradient."""
  difference = np.linalg.norm(ours.gradient - reference.gradient) / np.linalg.norm(reference.gradient)
  return abs(ours.loss - reference.loss) / abs(reference.loss), float(difference)


def write_reference(path: Path, runs: Mapping[str, Run]) -> None:
  """Writes parameters, loss and gradient of each run, by this process's device in full precision."""
  arrays: dict[str, Any] = {}
  for name, run in runs.items():
    params = language_model.initialize_parameters(run.model, jax.random.key(0))
    with jax.default_matmul_precision("highest"):
      reference = compute_gradient(run, params)
    arrays |= {f"{name}/{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(params))}
    arrays |= {f"{name}/loss": np.float64(reference.loss), f"{name}/gradient": reference.gradient}
  np.savez(path, **arrays)  # type: ignore[arg-type]


def write_reference_elsewhere(path: Path, runs: Mapping[str, Run]) -> None:
  """Calls `write_reference` for the runs of `small_run` in a process that has only the CPU."""
  script = [sys.executable, str(ROOT / "scripts" / "check_accelerator.py"), f"--reference={path}"]
  del runs  # those of the process are the same
  done = subprocess.run(script, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
  if done.returncode:
    raise UserError(
      f"the CPU's numbers failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
    )


def check_numerics(
  runs: Mapping[str, Run], reference: Callable[[Path, Mapping[str, Run]], None] = write_reference_elsewhere
) -> list[CheckRow]:
  """Compares loss and gradient of each run with those of a CPU, in float32 and bfloat16."""
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "reference.npz"
    reference(path, runs)
    arrays = dict(np.load(path))
  rows = []
  for name, run in runs.items():
    shapes, structure = jax.tree.flatten(language_model.parameter_shapes(run.model))
    leaves = [jnp.asarray(arrays[f"{name}/{i}"]) for i in range(len(shapes))]
    params = jax.tree.unflatten(structure, leaves)
    expected = Gradient(float(arrays[f"{name}/loss"]), arrays[f"{name}/gradient"])
    for dtype, limits in TOLERANCES.items():
      typed = dataclasses.replace(run, model=dataclasses.replace(run.model, dtype=dtype))
      # By default a GPU multiplies float32 in TF32, and a TPU in bfloat16.
      with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
        errors = relative_errors(compute_gradient(typed, params), expected)
      for what, error, limit in zip(("loss", "gradient"), errors, limits, strict=True):
        rows.append(
          CheckRow("numerics", f"{name} {dtype} {what}, error", error, f"<= {limit:g}", error <= limit)
        )
  return rows


def check_attention(length: int = 512, width: int = 256, heads: int = 4) -> list[CheckRow]:
  """Compares the backend's attention kernel with the written-out equations, in bfloat16.

  Raises:
    UserError: if the backend has no kernel, with the reason.
  """
  model = Model(
    width=width, depth=2, heads=heads, head_width=width // heads, vocab=256, context=length, dtype="bfloat16"
  )
  params = language_model.initialize_parameters(model, jax.random.key(0))
  found = {}
  for attention in ("plain", "fused"):
    shape = dataclasses.replace(model, attention=attention)
    found[attention] = compute_gradient(Run(model=shape, data=Data(length=length, batch=4), steps=1), params)
  rows = []
  for what, error, limit in zip(
    ("loss", "gradient"), relative_errors(found["fused"], found["plain"]), TOLERANCES["bfloat16"], strict=True
  ):
    rows.append(
      CheckRow(
        "attention", f"fused against written-out {what}, error", error, f"<= {limit:g}", error <= limit
      )
    )
  return rows


def gpt2_run(batch: int = 8, length: int = 1024) -> Run:
  """Returns the run whose speed is measured: GPT-2 with 124 M parameters in bfloat16, without dropout."""
  model = dataclasses.replace(presets.get_model("gpt2"), dtype="bfloat16", dropout=0.0)
  return Run(model=model, data=Data(length=length, batch=batch), steps=100, steps_per_dispatch=4)


def check_speed(run: Run, dispatches: int = 5) -> list[CheckRow]:
  """Measures tokens per second and MFU of the trainer's step, and compares predicted with live memory."""
  trial = step_benchmark.StepTrial(run)
  trial.steps(run.steps_per_dispatch)
  seconds = min(trial.steps(run.steps_per_dispatch)[1] for _ in range(dispatches)) / run.steps_per_dispatch
  tokens = run.data.batch * loop.row_length(run).tokens
  rate = run.data.batch * loop.flops_per_row(run) / seconds
  share = chip_peaks.share_of_peak(rate, run.model.dtype)
  kind = jax.devices()[0].device_kind
  rows = [
    CheckRow("speed", "first step, seconds", trial.first_step_seconds),
    CheckRow("speed", "tokens per second", tokens / seconds),
    CheckRow("speed", "TFLOP/s", rate / 1e12),
    CheckRow("speed", "MFU", f"no peak is known for {kind}" if share is None else share),
  ]
  predicted = memory.run_footprint(run).peak
  live = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
  rows.append(CheckRow("memory", "predicted peak, GB", predicted / 1e9))
  if live is None:
    return [*rows, CheckRow("memory", "live peak", f"{kind} does not report it")]
  error = predicted / live - 1
  limit = f"within {MEMORY_TOLERANCE:g}"
  return [
    *rows,
    CheckRow("memory", "live peak, GB", live / 1e9),
    CheckRow("memory", "predicted / live - 1", error, limit, abs(error) <= MEMORY_TOLERANCE),
  ]


def check_generation(width: int = 128, tokens: int = 64) -> list[CheckRow]:
  """Generates greedily with the cache and compares the tokens with those of a forward pass without it."""
  prompt = (5, 11, 2, 7)
  model = Model(width=width, depth=2, vocab=256, context=len(prompt) + tokens, dtype="float32")
  module = language_model.build_model(model)
  params = language_model.initialize_parameters(model, jax.random.key(1))

  def generate() -> np.ndarray:
    sampler = Sampler(temperature=0.0)
    done = decode.generate(module, params, [prompt], sampler, jax.random.key(0), max_tokens=tokens)
    return done.rows()[0]

  with jax.default_matmul_precision("highest"):
    ids = generate()
    begun = time.perf_counter()
    generate()
    seconds = time.perf_counter() - begun
    text = jnp.asarray([[*prompt, *map(int, ids)]])
    places = jnp.arange(text.shape[1])[None]
    logits = module.apply({"params": params}, text, segments_bt=jnp.ones_like(text), positions_bt=places)
  likely = np.asarray(jnp.argmax(jnp.asarray(logits)[0, len(prompt) - 1 : -1], -1))
  share = float((likely == ids).mean())
  return [
    CheckRow(
      "generation", "cached tokens equal to uncached", share, f">= {MATCHING_SHARE}", share >= MATCHING_SHARE
    ),
    CheckRow("generation", "tokens per second, one row", tokens / seconds),
  ]


def write_corpus(folder: Path, documents: int = 2000) -> Path:
  """Writes a text of few words as JSON lines and returns its path."""
  path = folder / "sentences.jsonl"
  texts = (
    " ".join(WORDS[(number * k + k // 3) % len(WORDS)] for k in range(1, 20)) + f" {number}."
    for number in range(documents)
  )
  path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
  return path


class _StopAt(hooks.NoHooks):
  """Stops a run at the first row of so many steps."""

  def __init__(self, step: int) -> None:
    self.last_step, self.seen = step, 0

  def progress(self, row: RowValues) -> None:
    self.seen = max(self.seen, row.get("step", 0))

  def stop(self) -> bool:
    return self.seen >= self.last_step


def check_resume(folder: Path, width: int = 64, steps: int = 20) -> list[CheckRow]:
  """Trains a run at one go, and again with a stop in the middle; both must end with the same loss."""
  data = Data(corpus=str(write_corpus(folder)), cache=str(folder / "cache"), length=64, batch=8)
  data = dataclasses.replace(data, validation_tokens=4096)
  model = Model(width=width, depth=2, dtype="bfloat16")
  run = Run(name="resumed", model=model, data=data, steps=steps, log_every=2, steps_per_dispatch=2)
  loaded = dataset.load_dataset(data)
  whole = loop.train_run(run, folder / "whole", loaded)
  with contextlib.suppress(loop.RunStopped):
    loop.train_run(run, folder / "halves", loaded, _StopAt(steps // 2))
  halves = loop.train_run(run, folder / "halves", loaded)
  error, limit = abs(halves.loss - whole.loss) / whole.loss, 1e-3
  return [
    CheckRow("resume", "loss after a stop against without, error", error, f"<= {limit:g}", error <= limit)
  ]


def check_sweep(folder: Path, executor: str = "gpus") -> list[CheckRow]:
  """Trains a sweep of six tiny runs by a worker on each GPU."""
  if executor == "gpus" and jax.default_backend() != "gpu":
    return [CheckRow("sweep", "--executor=gpus", "left out: it is for NVIDIA GPUs")]
  command = [
    sys.executable, "experiments/chinchilla.py", "--config=configs/smoke.py", f"--executor={executor}",
    f"--workdir={folder / 'sweep'}", f"--config.data.corpus={write_corpus(folder)}",
    f"--config.data.cache={folder / 'cache'}", "--config.budgets=(1e9, 2e9)",
    "--config.widths=((8, 16, 32), (8, 16, 32))", "--config.held_out=0", "--config.held_out_widths=()",
    "--config.bootstraps=20",
  ]  # fmt: skip
  # Its progress goes to this process's stderr, whose last line is told where the time limit ends both.
  process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
  last = "the sweep failed without a reason"
  for line in process.stderr or ():
    last = line.strip() or last
    print(last, file=sys.stderr, flush=True)
  if process.wait():
    raise UserError(last)
  lines = (folder / "sweep" / "journal.jsonl").read_text().splitlines()
  trained = sum(json.loads(line).get("kind") == "result" for line in lines)
  return [CheckRow("sweep", f"runs trained with --executor={executor}", float(trained), "= 6", trained == 6)]
