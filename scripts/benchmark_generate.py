"""Measures greedy decoding with a cache, and compares it with transformers on the same weights.

    uv run scripts/benchmark_generate.py --preset=gpt2 --batch=1,8 --prompt=64 --new=64 --json=-
    uv run scripts/benchmark_generate.py --checkpoint=DIRECTORY --peer=VENV/bin/python
    uv run scripts/benchmark_generate.py --weights=int8 --cache=int8 --batch=1,8

The model is a preset with random weights, or a folder in the Hugging Face format. --peer is a Python with torch and
transformers, a venv of its own; it reads the same weights from a temporary directory, and must give the same tokens.
With --weights or --cache it also measures the same model with fewer bits, in turn with float32, and the memory of both
programs.
The numbers are defined in `gen.generation.decoding.benchmark.DecodingSpeed`. Measure on a quiet machine.
"""

import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

PRESET = flags.DEFINE_string("preset", "gpt2", "Architecture with random weights.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Folder in the Hugging Face format, in place of a preset.")
BATCH = quantities.DEFINE_integers(
  "batch", [1, 8], "Batch sizes, in rows.", lower_bound=1, upper_bound=1_048_576
)
PROMPT = quantities.DEFINE_integer("prompt", 64, "Tokens of each prompt, or source.", lower_bound=1)
NEW = quantities.DEFINE_integer("new", 64, "Tokens to generate.", lower_bound=2)
REPEATS = quantities.DEFINE_integer("repeats", 5, "Timed calls of each kind.", lower_bound=1)
WEIGHTS = flags.DEFINE_enum(
  "weights", "float32", ("float32", "int8", "int4", "nf4"), "Format to compare with float32."
)
ACTIVATIONS = flags.DEFINE_enum(
  "activations", "int8", ("none", "int8"), "Format of activations, with --weights."
)
CACHE = flags.DEFINE_enum(
  "cache", "float32", ("float32", "int8"), "Format of keys and values to compare with float32."
)
PEER = flags.DEFINE_string("peer", "", "Python with torch and transformers to compare with.")
JSON = outputs.DEFINE_file(
  "json",
  "",
  "Also write the numbers as JSON to this file, or only to - (standard output).",
  standard_output=True,
)
HERE = Path(__file__).parent


def main() -> int:
  """Measures and reports."""
  batches = BATCH.value
  with tempfile.TemporaryDirectory() as folder:
    directory = Path(CHECKPOINT.value or folder)
    module, params, start = _model(directory)
    models = [(module, params)]
    if (WEIGHTS.value, CACHE.value) != ("float32", "float32"):
      models.append(_narrow(module.config, params))
    rows = [_row(models, start, batch, directory) for batch in batches]
  formats = {"weights": WEIGHTS.value, "cache": CACHE.value}
  text = json.dumps({"model": CHECKPOINT.value or PRESET.value, **formats, "rows": rows}, indent=1)
  if JSON.value == "-":
    print(text, file=outputs.json_stream())
    return 0
  if JSON.value:
    Path(JSON.value).write_text(text + "\n")
  for row in rows:
    _show("gen", row["gen"])
    if "narrow" in row:
      _show(WEIGHTS.value, row["narrow"])
      print(
        f"weights {WEIGHTS.value}, cache {CACHE.value}, against float32: decode {row['narrow_decode_ratio']:.2f}"
        f" times as fast, prefill {row['narrow_prefill_ratio']:.2f}; {row['narrow_bytes_ratio']:.3f} of the memory"
      )
    if row["transformers"]:
      _show("transformers", row["transformers"])
      print(f"{row['ratio']:.2f} times transformers' tokens/s, same tokens: {row['same_tokens']}")
  return 0


def _model(directory: Path) -> tuple[Any, Any, tuple[int, ...]]:
  """Returns a module, its parameters and what targets begin with; a preset's go to the directory for the peer."""
  import jax
  import numpy as np

  from gen import presets
  from gen.interop import huggingface
  from gen.models import language_model

  if not CHECKPOINT.value:
    model = presets.get_model(PRESET.value)
    model.dropout = 0.0
    params = jax.tree.map(np.asarray, language_model.initialize_parameters(model, jax.random.key(0)))
    if not PEER.value:
      return language_model.build_model(model), params, (0,)
    huggingface.save_checkpoint(directory, model, params)
  described, params = huggingface.load_checkpoint(directory)
  first = described.values.optional_integer("decoder_start_token_id")
  wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
  model = dataclasses.replace(described.config, dtype="float32")
  return language_model.build_model(model), wide, (0 if first is None else first,)


def _row(
  models: list[tuple[Any, Any]], start: tuple[int, ...], batch: int, directory: Path
) -> dict[str, Any]:
  from gen.generation.decoding import benchmark

  sizes: dict[str, Any] = {"batch": batch, "prompt": PROMPT.value, "new": NEW.value}
  measured = benchmark.measure_in_turn(models, start=start, repeats=REPEATS.value, **sizes)
  ours = measured[0]._asdict()
  row: dict[str, Any] = {"gen": ours, "transformers": None}
  if len(measured) > 1:
    wide, narrow = (benchmark.decoding_bytes(*model, **sizes) for model in models)
    row["bytes"], of_narrow = (found._asdict() | {"total": found.total} for found in (wide, narrow))
    row["narrow"] = measured[1]._asdict() | {"bytes": of_narrow}
    row["narrow_decode_ratio"] = ours["decode_seconds"] / measured[1].decode_seconds
    row["narrow_prefill_ratio"] = ours["prefill_seconds"] / measured[1].prefill_seconds
    row["narrow_bytes_ratio"] = narrow.total / wide.total
  if PEER.value:
    prompts = benchmark.random_prompts(models[0][0].config.vocab, batch, PROMPT.value)
    theirs = _peer(directory, {"prompts": prompts, "new": NEW.value, "repeats": REPEATS.value})
    same = theirs["tokens"][: NEW.value] == ours["tokens"]
    ratio = ours["tokens_per_second"] / theirs["tokens_per_second"]
    row |= {"transformers": theirs, "same_tokens": same, "ratio": ratio}
  return row


def _narrow(model: Any, params: Any) -> tuple[Any, Any]:
  """Returns the module and the parameters in the formats of --weights and --cache."""
  from gen.models import language_model
  from gen.quantization import model_quantization, model_scheme

  if WEIGHTS.value != "float32":
    activations = "none" if WEIGHTS.value == "nf4" else ACTIVATIONS.value
    scheme = model_scheme.parse_scheme(WEIGHTS.value, activations, "")
    params = model_quantization.quantize_model(params, model, scheme).params
  cache = "int8" if CACHE.value == "int8" else "float"
  return language_model.build_model(dataclasses.replace(model, cache_format=cache)), params


def _peer(directory: Path, question: dict[str, Any]) -> dict[str, Any]:
  command = [PEER.value, str(HERE / "benchmark_peers" / "transformers_generate.py"), str(directory)]
  try:
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=False)
  except OSError as error:
    raise UserError(f"--peer={PEER.value} cannot be run: {error.strerror}") from None
  if done.returncode:
    raise UserError(f"--peer failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
  measured: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
  return measured


def _show(name: str, row: dict[str, Any]) -> None:
  extra = f", compiled in {row['compile_seconds']:.1f} s" if "compile_seconds" in row else ""
  cache = f", cache {row['cache_bytes'] / 2**20:.2f} MiB" if "cache_bytes" in row else ""
  print(
    f"{name:>12}, batch {row['batch']}: {row['tokens_per_second']:,.1f} tokens/s; prefill"
    f" {row['prefill_tokens_per_second']:,.0f}, decode {row['decode_tokens_per_second']:,.1f} tokens/s{extra}{cache}"
  )


if __name__ == "__main__":
  launch.run_experiment(main)
