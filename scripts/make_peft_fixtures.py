"""Makes adapters with `peft` for the checkpoints of the parity fixtures, and tries adapters that gen wrote.

It runs in an environment of its own, which need not have `gen`:

    python3 -m venv hf && hf/bin/pip install torch transformers==5.24.0 peft==0.21.2 safetensors
    hf/bin/python scripts/make_peft_fixtures.py tests/interop/fixtures tests/finetuning/adapters
    hf/bin/python scripts/make_peft_fixtures.py tests/interop/fixtures runs/adapters --check

Each folder holds adapter_config.json, adapter_model.safetensors and answers.safetensors: ids, and the logits of the
adapted model. With --check the folders, named CHECKPOINT@ANYTHING, are gen's
(`tests/finetuning/adapters/test_lora_files.py` keeps them where GEN_ADAPTERS names a folder), and the largest
difference of peft's logits is printed for each.
"""

# ruff: noqa: C408 - configs read as calls

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

ANSWERS = "answers.safetensors"


class Case(NamedTuple):
  """Adapters of one checkpoint: the task of peft, matrices, modules trained whole, options."""

  checkpoint: str
  task: str
  targets: list[str]
  whole: list[str] | None = None
  options: dict[str, Any] = {}  # noqa: RUF012 - never changed


CASES = (
  Case("bert-classify", "SEQ_CLS", ["query", "value", "attention.output.dense"], ["classifier", "pooler"]),
  Case("roberta-span", "QUESTION_ANS", ["key", "intermediate.dense"], ["qa_outputs"], dict(use_rslora=True)),
  Case("gpt2-lm", "CAUSAL_LM", ["c_attn", "c_proj", "c_fc"]),
  Case("bloom-lm", "CAUSAL_LM", ["query_key_value"], None, dict(use_rslora=True)),
  Case("gpt-neox-lm", "CAUSAL_LM", ["query_key_value", "dense_h_to_4h"], None,
       dict(rank_pattern={"dense_h_to_4h": 3}, alpha_pattern={"dense_h_to_4h": 2.0})),
  Case("qwen3-lm", "CAUSAL_LM", ["q_proj", "o_proj", "up_proj"], None, dict(layers_to_transform=[1])),
  Case("t5-lm", "SEQ_2_SEQ_LM", ["q", "v", "wo"]),
  Case("bart-classify", "SEQ_CLS", ["q_proj", "fc1"], ["classification_head"]),
)  # fmt: skip


def main() -> None:
  """Makes the fixtures, or checks gen's."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("checkpoints", type=Path)
  parser.add_argument("folder", type=Path)
  parser.add_argument("--check", action="store_true", help="adapters of gen are in the folder")
  flags = parser.parse_args()
  transformers.logging.set_verbosity_error()
  transformers.logging.disable_progress_bar()
  if flags.check:
    for folder in sorted(flags.folder.iterdir()):
      base = open_checkpoint(flags.checkpoints / folder.name.split("@")[0])
      model = peft.PeftModel.from_pretrained(base, folder).eval()
      answers = load_file(folder / ANSWERS)
      difference = (run_model(model, answers) - answers["logits"]).abs().max()
      print(f"{folder.name:32} largest difference {float(difference):.1e}")
    return
  for number, case in enumerate(CASES):
    torch.manual_seed(number)
    make(case, flags.checkpoints / case.checkpoint, flags.folder / case.checkpoint)


def make(case: Case, checkpoint: Path, folder: Path) -> None:
  """Saves random adapters of a checkpoint, and its logits with them."""
  config = peft.LoraConfig(
    task_type=case.task,
    r=2,
    lora_alpha=5,
    target_modules=case.targets,
    modules_to_save=case.whole,
    **case.options,
  )
  model = peft.get_peft_model(open_checkpoint(checkpoint), config).eval()
  with torch.no_grad():
    for parameter in model.parameters():
      if parameter.requires_grad:
        parameter.add_(torch.randn_like(parameter) * 0.3)
  model.save_pretrained(folder)
  (folder / "README.md").unlink(missing_ok=True)
  ids = torch.tensor([[3, 7, 1, 2], [5, 4, 8, 2]])
  inputs = {"input_ids": ids}
  if case.task == "SEQ_2_SEQ_LM":
    inputs["decoder_input_ids"] = torch.tensor([[0, 5, 6], [0, 1, 8]])
  made = f"peft {peft.__version__}, transformers {transformers.__version__}"
  save_file(inputs | {"logits": run_model(model, inputs)}, folder / ANSWERS, metadata={"made": made})


def open_checkpoint(folder: Path) -> Any:
  """Returns the model of a fixture."""
  kind = json.loads((folder / "config.json").read_text())["architectures"][0]
  return getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32).eval()


def run_model(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
  """Returns the logits, or those of both ends of a span."""
  with torch.no_grad():
    output = model(**{name: tensor for name, tensor in inputs.items() if name != "logits"})
  if "start_logits" in output:
    return torch.stack([output.start_logits, output.end_logits], dim=-1)
  return output.logits.contiguous()


if __name__ == "__main__":
  main()
