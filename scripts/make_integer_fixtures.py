"""Writes tests/interop/integer_fixtures: tiny Llamas whose products are integers, packed by compressed-tensors.

Needs torch, transformers and compressed-tensors, which are no dependencies; an environment of its own has them:

    python -m venv hf && hf/bin/pip install torch transformers compressed-tensors accelerate
    hf/bin/python scripts/make_integer_fixtures.py tests/interop/integer_fixtures
    hf/bin/python scripts/make_integer_fixtures.py --open=exports/decoder-int8 --json=answers.json

Each fixture has the files, and `answers.safetensors` with ids and the logits of transformers, which opened the files.
The last command prints those of any checkpoint, for ids 2, 3, 4...
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from safetensors.torch import load_file, save_file

SHARED = {"type": "int", "symmetric": True}
GROUP = {"strategy": "group", "group_size": 8}
TOKEN = SHARED | {"num_bits": 8, "strategy": "token", "dynamic": True}
CASES = {  # format, weights, activations
  "pack-int4": ("pack-quantized", SHARED | {"num_bits": 4} | GROUP, None),
  "pack-int8": ("pack-quantized", SHARED | {"num_bits": 8, "strategy": "channel"}, None),
  "int8": ("int-quantized", SHARED | {"num_bits": 8, "strategy": "channel"}, TOKEN),
}
IDS = torch.tensor([[3, 1, 4, 15, 9], [2, 6, 5, 30, 8]])


def main() -> None:
  """Makes the fixtures, or opens a checkpoint."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("folder", nargs="?")
  parser.add_argument("--open")
  parser.add_argument("--json")
  flags = parser.parse_args()
  if flags.open:
    ids = torch.arange(2, 14).reshape(2, 6)
    Path(flags.json).write_text(json.dumps({"ids": ids.tolist(), "logits": answer(flags.open, ids).tolist()}))
    return
  for name, case in CASES.items():
    write_fixture(Path(flags.folder) / name, *case)


def write_fixture(folder: Path, form: str, weights: dict, activations: dict | None) -> None:
  """Writes the files of one case and what transformers answers."""
  torch.manual_seed(0)
  config = transformers.LlamaConfig(
    vocab_size=31, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, max_position_embeddings=32,
  )  # fmt: skip
  model = transformers.LlamaForCausalLM(config)
  group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "format": form}
  described = QuantizationConfig(
    config_groups={"group_0": group}, format=form, quantization_status="compressed", ignore=["lm_head"]
  )
  scheme = described.config_groups["group_0"]
  model.save_pretrained(folder)
  tensors = load_file(folder / "model.safetensors")
  for name in list(tensors):
    if name.endswith("_proj.weight"):
      base = name.removesuffix("weight")
      wide = tensors.pop(name) * 8
      grouped = wide.reshape(len(wide), -1, weights.get("group_size", wide.shape[1]))
      scale = grouped.abs().amax(-1) / (2 ** (weights["num_bits"] - 1) - 1)
      compressor = BaseCompressor.get_value_from_registry(form)
      packed = compressor.compress({"weight": wide, "weight_scale": scale}, scheme)
      tensors |= {base + end: value.contiguous() for end, value in packed.items()}
  save_file(tensors, folder / "model.safetensors", {"format": "pt"})
  path = folder / "config.json"
  values = json.loads(path.read_text()) | {"quantization_config": json.loads(described.model_dump_json())}
  path.write_text(json.dumps(values, indent=2) + "\n")
  (folder / "generation_config.json").unlink(missing_ok=True)
  save_file({"ids": IDS.to(torch.int32), "logits": answer(folder, IDS)}, folder / "answers.safetensors")


def answer(folder: str | Path, ids: torch.Tensor) -> torch.Tensor:
  """Returns the logits of the class that config.json names."""
  config = transformers.AutoConfig.from_pretrained(folder)
  model = getattr(transformers, config.architectures[0]).from_pretrained(folder, dtype=torch.float32).eval()
  more = {"decoder_input_ids": model._shift_right(ids)} if config.is_encoder_decoder else {}
  with torch.no_grad():
    return model(input_ids=ids, **more).logits.float().contiguous()


if __name__ == "__main__":
  main()
