"""Would this study's curve be credible, if the law were known? Draws its losses and judges them, before it costs hours.

  uv run experiments/rehearse.py --config=configs/full.py --law=results/full/results.json
  uv run experiments/rehearse.py --config=configs/full.py --law=law.json --noise=0.02 "--config.seeds=(3,3,3,3,3)"

Draws every run's loss from --law and the noise between seeds, fits and judges as chinchilla.py would, --studies times,
and says how often each criterion of the config is met. Change budgets, sizes and seeds until the answer is worth
the FLOPs; then train. --law is a results.json (or journal.jsonl, .csv) of earlier runs, or constants in a .json.
"""

import dataclasses
import sys

from absl import flags

from gen.cli import launch, shared_flags
from gen.config import Sweep
from gen.errors import UserError
from gen.io import outputs, quantities

LAW = flags.DEFINE_string("law", "", "Runs to fit approach 3 to, or E, A, B, alpha and beta in a .json.")
NOISE = quantities.DEFINE_float(
  "noise",
  None,
  "Standard deviation of a run's loss in nats; by default that between seeds of --law's runs.",
  lower_bound=0,
)
STUDIES = quantities.DEFINE_integer(
  "studies", 20, "Number of studies to draw.", lower_bound=1, upper_bound=1_000_000
)
SEED = shared_flags.define_seed("drawn losses")
JSON = outputs.DEFINE_json()


def main(sweep: Sweep) -> int:
  """Reads the law, draws and judges studies, and prints or writes how often each criterion was met."""
  if not LAW.value:
    raise UserError(
      "no law is given; name the results.json of earlier runs, or a .json of constants, with --law=FILE"
    )
  from gen.scaling.sweeps import design

  design.check_sweep(sweep)
  from gen.io import json_report
  from gen.scaling.laws.loss_law import law_batch
  from gen.scaling.planning import law_source
  from gen.scaling.verdicts import rehearsal, verdict

  target = json_report.report_target(JSON.value)
  source = law_source.read_source(LAW.value, bootstraps=0)
  if source.rows_sp is None:
    raise UserError(f"{LAW.value} holds a law of the optimum alone; give E, A, B, alpha and beta")
  noise = NOISE.value
  if noise is None:
    noise = None if source.runs is None else verdict.seed_noise(source.runs)
  if noise is None:
    raise UserError(
      f"{LAW.value} has no size with several seeds, so the noise is unknown; give it with --noise=NATS"
    )
  law = law_batch.row_law(source.rows_sp[0], source.cost)
  vocab = _vocab(sweep)
  result = rehearsal.rehearse_sweep(
    sweep, vocab, law, noise, studies=STUDIES.value, seed=SEED.value, report=_say
  )
  for text in source.columns:
    json_report.print_note(f"{LAW.value}: {text}", JSON.value)
  print("\n".join(rehearsal.rehearsal_lines(result)))
  json_report.write_report(
    {"law": dataclasses.asdict(law), "vocab": vocab} | dataclasses.asdict(result), target
  )
  return 0


def _vocab(sweep: Sweep) -> int:
  """Returns the ids that the study's models will have; only a learnt tokenizer needs the corpus."""
  from gen.data import dataset
  from gen.data.tokenizers import tokenizer
  from gen.training.run_folders import run_length

  if sweep.model.vocab:
    return sweep.model.vocab
  if sweep.data.tokenizer == "bytes":
    return run_length.vocab_of_tokenizer(sweep.data.objective, tokenizer.ByteTokenizer())
  loaded_tokenizer = dataset.load_dataset(sweep.data, lambda line: print(line, file=sys.stderr)).tokenizer
  return run_length.vocab_of_tokenizer(sweep.data.objective, loaded_tokenizer)


def _say(done: int) -> None:
  if sys.stderr.isatty():
    print(f"\r{done} of {STUDIES.value} studies", end="\n" if done == STUDIES.value else "", file=sys.stderr)


if __name__ == "__main__":
  launch.run_experiment(main, Sweep, "configs/chinchilla.py", trains=False)
