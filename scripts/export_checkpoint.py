"""Writes a checkpoint of a run in the Hugging Face format, which transformers loads.

    uv run scripts/export_checkpoint.py --workdir=runs/decoder --output=exports/decoder
    uv run scripts/export_checkpoint.py --workdir=runs/decoder --output=exports/decoder --step=1000

The architecture (BERT, GPT-2, T5, Llama, Qwen3, GPT-NeoX, ...) is the one that means the same as the run's model, or as
an equivalent form of it; if there is none, the nearest is named, and what it has otherwise.
"""

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs, quantities

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
OUTPUT = outputs.DEFINE_folder("output", None, "Folder to write to; a checkpoint in it is replaced.")
STEP = quantities.DEFINE_integer(
  "step", None, "Step of the checkpoint; the latest by default.", lower_bound=0
)


def main() -> None:
  """Exports, and prints what."""
  workdir, output = WORKDIR.value, OUTPUT.value
  if not workdir or not output:
    raise UserError(f"--{'output' if workdir else 'workdir'} is not given")
  from gen.interop import runs

  model = runs.export_checkpoint(workdir, output, STEP.value)
  for note in model.notes:
    print(note)
  kinds = model.hf["architectures"]
  kind = kinds[0] if isinstance(kinds, list) else kinds
  print(f"{output}: {kind}, {len(model.tensors)} tensors")


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
