"""Makes the folder of a run from a checkpoint of the Hugging Face format.

    uv run scripts/import_checkpoint.py --source=downloads/gpt2 --workdir=runs/gpt2

SOURCE holds config.json and *.safetensors. The folder then has a checkpoint of step 0, in float32, which generation
and evaluation read; tokenizer files are kept in its folder huggingface.
"""

from absl import flags

from gen.cli import launch
from gen.errors import UserError
from gen.io import outputs

SOURCE = flags.DEFINE_string("source", None, "Folder with config.json and *.safetensors.")
WORKDIR = outputs.DEFINE_folder("workdir", None, "Folder of the new run.")


def main() -> None:
  """Imports, and prints what."""
  source, workdir = SOURCE.value, WORKDIR.value
  if not source or not workdir:
    raise UserError(f"--{'workdir' if source else 'source'} is not given")
  from gen import counts
  from gen.interop import runs

  run = runs.import_checkpoint(source, workdir)
  model = run.model
  print(
    f"{workdir}: {model.family}, width {model.width}, depth {model.depth}, "
    f"{counts.count_parameters(model).total:,} parameters, checkpoint of step 0"
  )


if __name__ == "__main__":
  launch.run_experiment(main, trains=False)
