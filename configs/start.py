"""A run that starts from a checkpoint, with the checkpoint's model and tokenizer.

  uv run experiments/pretrain.py --config=configs/start.py:runs/decoder --config.data.corpus=notes/ --workdir=runs/notes

The folder follows the colon (runs/decoder if none does): a run's, with its step after another colon, or one of the
Hugging Face format. Of a run, text and optimizer are the run's too, at a tenth of its learning rate. docs/starting.md
says what is copied. Time: 200 steps take a third of configs/decoder.py's.
"""

import dataclasses
import os

from gen.config import Data, Optimizer, Run
from gen.interop import pretrained
from gen.training import start_source
from gen.training.run_folders import run_folder

OBJECTIVES = {
  "encoder": "masked",
  "encoder_decoder": "span_corruption",
}  # of Hugging Face models; others are causal


def get_config(place: str = "runs/decoder") -> Run:
  """Returns the run."""
  folder, _ = start_source.split_step(place)
  run = Run(name="start", start_from=place, steps=200, evaluate_every=100)
  if not os.path.isfile(folder / run_folder.CONFIG):  # noqa: PTH113
    return run  # The trainer says in one sentence what is missing.
  source = start_source.find_source(place)
  if source.run is None:
    described, _ = pretrained.find_checkpoint(folder)
    model = dataclasses.replace(described.config, vocab=0, context=0)
    objective = OBJECTIVES.get(model.family, "causal")
    data = Data(tokenizer=place, objective=objective, length=128, batch=8)
    optimizer = Optimizer(peak_learning_rate=5e-5, schedule="linear", warmup=0.05)
    return dataclasses.replace(run, model=model, data=data, optimizer=optimizer)
  saved = source.run
  tokenizer = folder / run_folder.TOKENIZER
  return dataclasses.replace(
    run,
    model=dataclasses.replace(saved.model, vocab=0, context=0),
    data=dataclasses.replace(
      saved.data, tokenizer=str(tokenizer) if tokenizer.is_dir() else saved.data.tokenizer
    ),
    optimizer=dataclasses.replace(
      saved.optimizer,
      peak_learning_rate=saved.optimizer.peak_learning_rate / 10,
      schedule="linear",
      warmup=0.05,
    ),
  )
