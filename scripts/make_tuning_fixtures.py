"""Fine-tunes the checkpoints of the parity fixtures with PyTorch, and opens classifiers that gen tuned.

It runs in an environment of its own, which need not have `gen`:

    python3 -m venv hf && hf/bin/pip install torch transformers==5.24.0 peft==0.21.2 safetensors
    hf/bin/python scripts/make_tuning_fixtures.py tests/interop/fixtures tests/finetuning/tuning_parity.json
    hf/bin/python scripts/make_tuning_fixtures.py runs/tuned --check

The first records rows, their order and the loss of each of 50 steps: AdamW, decay on matrices alone, gradients clipped
at a norm of 1, a linear warmup and decay, no dropout. With --check the folder holds what
`tests/finetuning/test_tuning_parity.py` exported where GEN_TUNED names a folder: models after these steps, and their
logits. The largest difference of transformers' logits is printed for each.
"""

# ruff: noqa: C408 - options read as calls

import argparse
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import peft
import torch
import transformers
from safetensors.torch import load_file

STEPS, BATCH, ROWS = 50, 5, 23
LONGEST = 8  # tokens; gen pads rows to a multiple of it
SETTINGS = dict(learning_rate=0.01, warmup=0.1, weight_decay=0.05)
IGNORED = -100  # a target without loss, as transformers marks it
ANSWERS = "answers.safetensors"


class Case(NamedTuple):
  """One fine-tuning: a checkpoint, its task, and the folder of adapters that are trained instead of it."""

  checkpoint: str
  task: str
  adapters: str = ""


CASES = (
  Case("bert-classify", "classify"),
  Case("bert-tag", "tag"),
  Case("bert-span", "answer"),
  Case("gpt2-classify", "classify"),
  Case("gpt2-lm", "translate"),
  Case("t5-lm", "translate"),
  Case("bart-lm", "translate"),
  Case("bart-classify", "classify"),
  Case("bert-classify", "classify", "bert-classify"),
  Case("t5-lm", "translate", "t5-lm"),
)


def main() -> None:
  """Records the losses, or checks models of gen."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("checkpoints", type=Path)
  parser.add_argument("output", type=Path, nargs="?")
  parser.add_argument("--check", action="store_true", help="the folder holds models that gen tuned")
  flags = parser.parse_args()
  transformers.logging.set_verbosity_error()
  transformers.logging.disable_progress_bar()
  torch.set_num_threads(1)
  if flags.check:
    for folder in sorted(flags.checkpoints.iterdir()):
      print(f"{folder.name:32} largest difference {check(folder):.1e}")
    return
  made = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
  cases = []
  for number, case in enumerate(CASES):
    cases.append(record(case, flags.checkpoints, random.Random(number)))
    losses = cases[-1]["losses"]
    print(f"{case.checkpoint:20} {case.task:10} {case.adapters:16} loss {losses[0]:.3f} -> {losses[-1]:.3f}")
  flags.output.write_text(
    json.dumps({"made": made, "settings": SETTINGS, "batch": BATCH, "cases": cases}) + "\n"
  )


def record(case: Case, folder: Path, draw: random.Random) -> dict[str, Any]:
  """Returns one fine-tuning: its rows, the rows of each step, and the losses."""
  model = open_checkpoint(folder / case.checkpoint)
  rows = [draw_row(case, model.config, draw) for _ in range(ROWS)]
  order = draw_order(draw)
  if case.adapters:
    adapters = folder.parents[1] / "finetuning/adapters" / case.adapters
    model = peft.PeftModel.from_pretrained(model, adapters, is_trainable=True).eval()
  losses, norms = train(model, case.task, rows, order)
  assert max(norms) > 1, "no gradient was clipped"
  return {**case._asdict(), "rows": rows, "order": order, "losses": [round(loss, 7) for loss in losses]}


def open_checkpoint(folder: Path) -> Any:
  """Returns the model of a folder in float32, without dropout."""
  kind = json.loads((folder / "config.json").read_text())["architectures"][0]
  model, problems = getattr(transformers, kind).from_pretrained(
    folder, dtype=torch.float32, output_loading_info=True
  )
  assert not problems["missing_keys"] and not problems["unexpected_keys"], problems
  return model.eval()


def draw_order(draw: random.Random) -> list[list[int]]:
  """Returns the rows of each step: every row once an epoch, the last batch of an epoch smaller."""
  order: list[list[int]] = []
  while len(order) < STEPS:
    numbers = draw.sample(range(ROWS), ROWS)
    order += [numbers[begin : begin + BATCH] for begin in range(0, ROWS, BATCH)]
  return order[:STEPS]


def draw_row(case: Case, config: Any, draw: random.Random) -> dict[str, Any]:
  """Returns a row of random ids with its target."""
  special = {getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos")}
  plain = [number for number in range(config.vocab_size) if number not in special]
  # transformers takes padding for a possible answer, so rows with answers are not padded.
  length = LONGEST if case.task == "answer" else draw.randint(2, LONGEST - 2)
  row: dict[str, Any] = {"ids": draw.choices(plain, k=length)}
  if config.model_type == "bert":
    row["types"] = [int(place > length // 2) for place in range(length)]
  if case.task == "classify":
    row["target"] = draw.randrange(config.num_labels)
    if config.is_encoder_decoder:
      row["ids"].append(config.eos_token_id)
  elif case.task == "tag":
    row["targets"] = [draw.choice([IGNORED, *range(config.num_labels)]) for _ in range(length)]
  elif case.task == "answer":
    first = draw.randrange(length)
    row["targets"] = [first, draw.randrange(first, length)]
  elif config.is_encoder_decoder:
    row["answer"] = [*draw.choices(plain, k=draw.randint(1, LONGEST - 1)), config.eos_token_id]
  else:
    prompt = draw.randint(1, length - 1)
    row["ids"].append(config.eos_token_id)
    row["targets"] = [IGNORED] * prompt + row["ids"][prompt:]
  return row


def train(
  model: Any, task: str, rows: list[dict[str, Any]], order: list[list[int]]
) -> tuple[list[float], list[float]]:
  """Returns the loss and the norm of the gradient of each step."""
  parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
  groups = [
    {"params": [each for each in parameters if each.ndim > 1], "weight_decay": SETTINGS["weight_decay"]},
    {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, lr=SETTINGS["learning_rate"], betas=(0.9, 0.999), eps=1e-8)
  warmup = SETTINGS["warmup"] * STEPS

  # get_linear_schedule_with_warmup, but the first step has a rate above 0.
  def factor(step: int) -> float:
    return min((step + 1) / warmup, 1.0) if step < warmup else (STEPS - step) / (STEPS - warmup)

  schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
  losses, norms = [], []
  for numbers in order:
    loss = batch_loss(model, task, [rows[number] for number in numbers])
    optimizer.zero_grad()
    loss.backward()
    norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, 1.0)))
    optimizer.step()
    schedule.step()
    losses.append(float(loss.detach()))
  return losses, norms


def batch_loss(model: Any, task: str, rows: list[dict[str, Any]]) -> torch.Tensor:
  """Returns transformers' loss of some rows, padded on the right to the longest."""
  config = model.config

  def padded(name: str, fill: int) -> torch.Tensor:
    longest = max(len(row[name]) for row in rows)
    return torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])

  inputs = {"input_ids": padded("ids", config.pad_token_id or 0)}
  sizes = torch.tensor([len(row["ids"]) for row in rows])[:, None]
  inputs["attention_mask"] = (torch.arange(inputs["input_ids"].shape[1])[None] < sizes).long()
  if "types" in rows[0]:
    inputs["token_type_ids"] = padded("types", 0)
  if "answer" in rows[0]:
    inputs["labels"] = padded("answer", IGNORED)
  elif task == "classify":
    inputs["labels"] = torch.tensor([row["target"] for row in rows])
  elif task == "answer":
    inputs["start_positions"], inputs["end_positions"] = torch.tensor([row["targets"] for row in rows]).T
  else:
    inputs["labels"] = padded("targets", IGNORED)
  return model(**inputs).loss


def check(folder: Path) -> float:
  """Returns the largest difference between the logits of transformers and those of gen, for a model of gen."""
  model, answers = open_checkpoint(folder), load_file(folder / ANSWERS)
  logits = answers.pop("logits")
  worst = 0.0
  for row in range(len(logits)):  # a decoder without a padding token classifies one text at a time
    with torch.no_grad():
      output = model(**{name: tensor[row : row + 1].long() for name, tensor in answers.items()})
    spans = "start_logits" in output
    theirs = torch.stack([output.start_logits, output.end_logits], dim=-1) if spans else output.logits
    worst = max(worst, float((theirs[0] - logits[row]).abs().max()))
  return worst


if __name__ == "__main__":
  main()
