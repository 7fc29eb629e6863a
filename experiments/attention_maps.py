"""Where does each head look? Every head of every layer for a sentence, self and cross, of any trained transformer.

  uv run experiments/attention_maps.py --run=runs/decoder --text="Returns the sum of array elements."
  uv run experiments/attention_maps.py --run=runs/translator --text="A source." --target="Its target."

Reads the last checkpoint of a run of experiments/pretrain.py, or a folder in the Hugging Face format, and writes a
PNG of each layer, attention.html (choose kind, layer and head; point at a cell for its tokens and weight) and
attention.npz into the folder of the run.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

RUN = flags.DEFINE_string(
  "run", "", "Folder of the run, the --workdir that it was trained with; or of a Hugging Face checkpoint."
)
TOKENIZER = flags.DEFINE_string("tokenizer", "", "Folder of the tokenizer that the model was trained with.")
STEP = quantities.DEFINE_integer("step", -1, "Step of the checkpoint; -1: the latest.", lower_bound=-1)
TEXT = flags.DEFINE_string("text", "Returns the sum of the array.", "Text that the model reads.")
TARGET = flags.DEFINE_string("target", "", "Target of an encoder-decoder; empty: the same text.")
OUT = outputs.DEFINE_folder("out", "", "Folder to write to; empty: RUN/attention.")
JSON = outputs.DEFINE_json()


def main() -> int:
  """Reads, looks and writes."""
  if not RUN.value:
    raise UserError("--run is empty; give the --workdir of a run that experiments/pretrain.py trained")
  if not (Path(RUN.value) / "config.json").is_file():
    raise UserError(
      f"--run={RUN.value} is not a run: config.json is missing; give the --workdir of a training run"
    )
  from gen.evaluation import attention_figures, attention_maps
  from gen.generation import loaded_model
  from gen.io import json_report

  loaded = loaded_model.load_model(
    RUN.value,
    None if STEP.value < 0 else STEP.value,
    TOKENIZER.value or None,
    lambda line: print(line, file=sys.stderr),
  )
  how = loaded.reading
  maps = attention_maps.read_maps(
    loaded.model,
    loaded.params,
    loaded.tokenizer,
    TEXT.value,
    TARGET.value,
    how.start,
    (how.before, how.after),
  )
  folder = Path(OUT.value or Path(RUN.value) / "attention")
  facts = [f"{loaded.model.family.replace('_', '-')}, {loaded.where}.", f"Text: {TEXT.value}"]
  if TARGET.value and loaded.model.family == "encoder_decoder":
    facts.append(f"Target: {TARGET.value}")
  try:
    paths = [
      *attention_figures.write_figures(maps, folder),
      attention_figures.write_page(maps, folder / "attention.html", "Where each head looks", facts),
      attention_figures.save_weights(maps, folder / "attention.npz"),
    ]
  except OSError as error:
    raise UserError(f"--out={folder}: cannot be written: {error.strerror or error}") from None
  report: dict[str, Any] = {
    "checkpoint": loaded.where,
    "text": TEXT.value,
    "maps": [],
    "files": [str(path) for path in paths],
  }
  for attention_map in maps:
    layers, heads, queries, keys = attention_map.weights_lhts.shape
    print(f"{attention_map.kind}: {queries} x {keys} tokens, layers {layers}, heads {heads}")
    sizes = {"layers": layers, "heads": heads, "queries": queries, "keys": keys}
    report["maps"].append({"kind": attention_map.kind} | sizes)
  for path in paths:
    print(f"wrote {path}", file=sys.stderr)
  json_report.write_report(report, json_report.report_target(JSON.value))
  return 0


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
