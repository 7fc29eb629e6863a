"""Compares the training step with that of other projects, in turn, on one core, on one machine.

    uv run scripts/benchmark_peers/compare.py --shape=128,4,4,128,16,4096 \
      --nanodo=VENV/bin/python:SOURCE --torch=VENV/bin/python --nanogpt=SOURCE

Each program is a process of its own, pinned to the same core, in the environment that it is launched with by its
project: ours with huge pages, as `gen.cli.launch` has it. Bursts of a few steps go round the programs, and the median
over rounds of CPU seconds a step is compared, so that what else the machine does falls on all alike. `step` is what a
step's arrays hold at their worst moment, state included, by the compiler or by the allocator (0 is unknown); `peak` is
what the process grew by. --shape is width,depth,heads,length,batch,vocab and may be repeated; --family compares the
encoder with transformers' BERT, the encoder-decoder with its T5 and the LSTM with torch.nn.LSTM. With --tuning it is
the fine-tuning of an encoder to two classes, beside transformers' BERT with a classifier; MiniLM's shape:

    uv run scripts/benchmark_peers/compare.py --tuning --shape=384,6,12,128,32,30522 --torch=VENV/bin/python
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from gen.cli import environment
from gen.data import objectives

HERE = Path(__file__).parent
NAMES = ("width", "depth", "heads", "length", "batch", "vocab")
TORCH_MODELS = {"decoder": "nanogpt", "encoder": "bert", "encoder_decoder": "t5", "lstm": "lstm"}


def programs(options: argparse.Namespace) -> dict[str, tuple[list[str], dict[str, str]]]:
  """Returns the commands to compare, by name, with the environment of each."""
  plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
  dropout = f"--dropout={options.dropout}"
  ours = [sys.executable, str(HERE / "ours.py"), f"--family={options.family}", dropout]
  ours += ["--tuning=True"] if options.tuning else []
  commands = {"gen": (ours, environment.worker_environment())}
  if options.nanodo and options.family == "decoder":
    python, source = options.nanodo.split(":")
    command = [python, str(HERE / "nanodo_step.py"), f"--source={source}"]
    commands["NanoDO"] = (command, plain)
    if options.bare:
      commands["NanoDO without metrics"] = ([*command, "--metrics=False"], plain)
    if options.huge:
      commands["NanoDO with huge pages"] = (command, environment.worker_environment())
  if options.torch and (options.family != "decoder" or options.nanogpt):
    model = "bert_classifier" if options.tuning else TORCH_MODELS[options.family]
    command = [options.torch, str(HERE / "torch_step.py"), f"--model={model}", f"--source={options.nanogpt}"]
    command.append(dropout)
    commands["PyTorch eager"] = (command, plain)
    if options.compiled:
      commands["PyTorch compiled"] = ([*command, "--compile=True"], plain)
  return commands


class Process:
  """A program that runs steps when it is asked."""

  def __init__(self, command: list[str], variables: dict[str, str], core: str, nice: int) -> None:
    """Starts it on a core, or several; it is ready once `answer` returns."""
    prefix = ["taskset", "-c", core] + (["nice", "-n", str(nice)] if nice else [])
    pipe = subprocess.PIPE
    self._command = command
    self._process = subprocess.Popen([*prefix, *command], env=variables, stdin=pipe, stdout=pipe, text=True)

  def answer(self) -> dict[str, float]:
    """Waits for the next line of JSON; what else the program prints is passed over."""
    assert self._process.stdout
    for line in self._process.stdout:
      if line.startswith("{"):
        measured: dict[str, float] = json.loads(line)
        return measured
    raise SystemExit(f"{' '.join(self._command)} ended with code {self._process.wait()}")

  def steps(self, count: int) -> dict[str, float]:
    """Runs so many steps."""
    assert self._process.stdin
    self._process.stdin.write(f"{count}\n")
    self._process.stdin.flush()
    return self.answer()

  def end(self) -> None:
    """Closes its input, at which it ends."""
    assert self._process.stdin
    self._process.stdin.close()
    self._process.wait()


def compare(options: argparse.Namespace, shape: dict[str, int]) -> dict[str, dict[str, float]]:
  """Returns what each program's steps cost at one shape, as medians over rounds."""
  target = objectives.row_shapes("span_corruption", shape["length"])[1]
  sizes = [f"--{name}={value}" for name, value in (shape | {"target": target}).items()]
  running, ready = {}, {}
  for name, (command, variables) in programs(options).items():
    running[name] = Process([*command, *sizes], variables, options.core, options.nice)
    ready[name] = running[name].answer()
  answers: dict[str, list[dict[str, float]]] = {name: [] for name in running}
  for _ in range(options.rounds):
    for name, process in running.items():
      answers[name].append(process.steps(options.steps))
  for process in running.values():
    process.end()
  measured = {}
  for name, rows in answers.items():
    seconds = statistics.median(row["cpu_seconds"] for row in rows)
    peak = max(row["peak_bytes"] for row in rows)
    measured[name] = ready[name] | {"cpu_seconds": seconds, "peak_bytes": peak}
  return measured


def main() -> None:
  """Prints a table row per shape and program, and JSON where asked."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--shape", action="append", required=True, help="width,depth,heads,length,batch,vocab")
  parser.add_argument("--family", default="decoder", choices=TORCH_MODELS)
  parser.add_argument("--tuning", action="store_true", help="fine-tuning of an encoder to two classes")
  parser.add_argument("--dropout", type=float, default=0.0, help="of gen's model, and of BERT")
  parser.add_argument("--nanodo", default="", help="PYTHON:SOURCE of NanoDO")
  parser.add_argument("--torch", default="", help="Python with PyTorch, and transformers for BERT and T5")
  parser.add_argument("--nanogpt", default="", help="nanoGPT's source")
  parser.add_argument("--compiled", action="store_true", help="also PyTorch compiled")
  parser.add_argument("--bare", action="store_true", help="also NanoDO without its statistics")
  parser.add_argument("--huge", action="store_true", help="also NanoDO with huge pages")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--steps", type=int, default=3, help="steps of a burst; at most 4")
  parser.add_argument("--core", default="0", help="the core, or several as 0,1")
  parser.add_argument(
    "--nice", type=int, default=0, help="niceness of the processes; below 0 takes privileges"
  )
  parser.add_argument("--json", default="", help="JSON file for all numbers")
  options = parser.parse_args()
  options.family = "encoder" if options.tuning else options.family
  rows: list[Any] = []
  print(
    f"{'shape':>24}  {'program':<24} {'CPU ms a step':>13} {'ours is':>8} "
    f"{'step MiB':>9} {'peak MiB':>9} {'first step':>10}"
  )
  for text in options.shape:
    shape = dict(zip(NAMES, map(int, text.split(",")), strict=True))
    measured = compare(options, shape)
    for name, row in measured.items():
      ratio = row["cpu_seconds"] / measured["gen"]["cpu_seconds"]
      print(
        f"{text:>24}  {name:<24} {row['cpu_seconds'] * 1e3:13.1f} {ratio:7.2f}x "
        f"{row['step_bytes'] / 2**20:9.0f} {row['peak_bytes'] / 2**20:9.0f} {row['first_step_seconds']:8.1f} s",
        flush=True,
      )
    rows.append({"shape": shape, "family": options.family, "programs": measured})
  if options.json:
    Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
  main()
