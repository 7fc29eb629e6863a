"""What do decoding settings do? The next token under each, repetition of greedy against sampling, diversity.

  uv run experiments/decoding.py --checkpoint=runs/decoder
  uv run experiments/decoding.py --checkpoint=runs/decoder --prompt="The function returns" --tokens=96

For any model that writes. Writes decoding.json, next_token.png, decoding.png and their .pdf into the work folder.
"""

import json
import sys
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Folder of a run, or of a Hugging Face checkpoint.")
STEP = quantities.DEFINE_integer("step", None, "Which checkpoint; by default the latest.", lower_bound=0)
TOKENIZER = flags.DEFINE_string("tokenizer", "", "Folder of a tokenizer; it must be the one of the training.")
PROMPTS = flags.DEFINE_multi_string(
  "prompt",
  ["The function returns", "Parameters", "Returns a new array with", "If the value is"],
  "A text to go on from; may be given several times. The first shows the next token.",
)
SAMPLES = quantities.DEFINE_integer(
  "samples", 4, "Texts of each prompt.", lower_bound=1, upper_bound=1_000_000
)
TOKENS = quantities.DEFINE_integer("tokens", 64, "Tokens of each text.", lower_bound=1)
SETTINGS = flags.DEFINE_list("settings", [], "Names of settings, as the table has them; empty is all.")
TEMPERATURES = quantities.DEFINE_floats(
  "temperatures", [0.2, 0.5, 0.8, 1, 1.3], "To draw diversity against.", lower_bound=0
)
COUNT = quantities.DEFINE_integer("count", 12, "Tokens whose probabilities are shown.", lower_bound=1)
SEED = quantities.DEFINE_integer(
  "seed", 0, "The same seed gives the same texts.", lower_bound=0, upper_bound=2**32 - 1
)
WORKDIR = outputs.DEFINE_folder(
  "workdir", "", "Folder of the results; empty: the checkpoint's, with _decoding."
)
JSON = outputs.DEFINE_json()


def main() -> int:
  """Loads the model, and shows what settings make of it."""
  if not CHECKPOINT.value:
    raise UserError("--checkpoint=FOLDER is missing; give the --workdir of a run of experiments/pretrain.py")
  temperatures = sorted(set(TEMPERATURES.value))
  from gen.evaluation import decoding
  from gen.generation import loaded_model

  restored = loaded_model.load_model(
    CHECKPOINT.value, STEP.value, TOKENIZER.value or None, lambda line: print(line, file=sys.stderr)
  )
  if restored.model.family == "encoder":
    raise UserError(f"{restored.where} is an encoder, which fills blanks; take a model that writes")
  settings = _settings(decoding.SETTINGS)
  names, after = decoding.next_tokens(restored, PROMPTS.value[0], settings, COUNT.value)
  own = decoding.SETTINGS["the model's own"]
  texts = [_written(restored, name, sampler) for name, sampler in settings.items()]
  curve = []
  for temperature in temperatures:
    sampler = type(own)(temperature=temperature)
    curve.append(_written(restored, f"temperature {temperature:g}", sampler) | {"temperature": temperature})
  _write(restored.where, names, [one._asdict() for one in after], texts, curve)
  return 0


def _settings(known: dict[str, Any]) -> dict[str, Any]:
  unknown = [name for name in SETTINGS.value if name not in known]
  if unknown:
    raise UserError(f"--settings: {unknown[0]!r} is not known; there are {', '.join(known)}")
  return {name: known[name] for name in SETTINGS.value} or known


def _written(restored: Any, name: str, sampler: Any) -> dict[str, Any]:
  from gen.evaluation import decoding

  sizes = {"samples": SAMPLES.value, "tokens": TOKENS.value, "seed": SEED.value}
  return decoding.sample_texts(restored, PROMPTS.value, name, sampler, **sizes)._asdict()


def _write(
  where: str,
  names: list[str],
  after: list[dict[str, Any]],
  texts: list[dict[str, Any]],
  curve: list[dict[str, Any]],
) -> None:
  from gen import versions
  from gen.evaluation import decoding_figure
  from gen.io import json_report

  workdir = Path(WORKDIR.value or f"{CHECKPOINT.value.rstrip('/')}_decoding")
  workdir.mkdir(parents=True, exist_ok=True)
  found = {
    "checkpoint": where, "prompts": PROMPTS.value, "tokens": names, "next": after, "texts": texts,
    "temperatures": curve, "versions": versions.installed_versions(),
  }  # fmt: skip
  (workdir / "decoding.json").write_text(json.dumps(found, indent=1) + "\n")
  decoding_figure.draw_next(workdir, names, after)
  decoding_figure.draw_texts(workdir, texts, curve)
  print(f"after {PROMPTS.value[0]!r}\n{'':>18}  {'entropy':>8}  {'kept':>6}  likeliest")
  for one in after:
    best = sorted(zip(one["probabilities"], names, strict=True), reverse=True)[:3]
    shown = ", ".join(f"{name!r} {chance:.3f}" for chance, name in best if chance)
    print(f"{one['setting']:>18}  {one['entropy']:>8.3f}  {one['kept']:>6,}  {shown}")
  print(f"\n{'texts':>18}  {'repeated runs of 4':>20}  {'different runs of 2':>20}  {'nats per token':>15}")
  told = {one["setting"] for one in texts}
  for one in [*texts, *(one for one in curve if one["setting"] not in told)]:
    repeated = f"{one['repetition']:.3f} ± {one['repetition_error']:.3f}"
    print(f"{one['setting']:>18}  {repeated:>20}  {one['diversity']:>20.3f}  {one['nats']:>15.3f}")
  print(workdir / "decoding.json, next_token.png, decoding.png")
  json_report.write_report(found, json_report.report_target(JSON.value))


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
