"""Greedy decoding by transformers on PyTorch, for `scripts/benchmark_generate.py`.

  VENV/bin/python transformers_generate.py DIRECTORY < {"prompts": ..., "new": ..., "repeats": ...}

Runs without gen and jax. Prints one line of JSON.
"""

import json
import statistics
import sys
import time
from typing import Any

import torch
import transformers


def main() -> None:
  """Measures prefill and decode as gen.generation.decoding.benchmark does."""
  question: dict[str, Any] = json.load(sys.stdin)
  config = transformers.AutoConfig.from_pretrained(sys.argv[1])
  kind = (
    transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
  )
  model: Any = kind.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
  ids = torch.tensor(question["prompts"])
  batch, length = ids.shape

  def seconds(count: int) -> tuple[float, Any]:
    options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False, "num_beams": 1}
    begun = time.perf_counter()
    with torch.inference_mode():
      generated = model.generate(ids, attention_mask=torch.ones_like(ids), eos_token_id=None, **options)
    return time.perf_counter() - begun, generated

  for count in (1, question["new"]):
    seconds(count)
  timed = [(seconds(1)[0], *seconds(question["new"])) for _ in range(question["repeats"])]
  prefill = statistics.median(row[0] for row in timed)
  total = statistics.median(row[1] for row in timed)
  skipped = 1 if config.is_encoder_decoder else length
  further, new = max(total - prefill, 1e-9), question["new"]
  print(
    json.dumps(
      {
        "batch": batch,
        "prefill_seconds": prefill,
        "decode_seconds": further,
        "prefill_tokens_per_second": batch * length / prefill,
        "decode_tokens_per_second": batch * (new - 1) / further,
        "tokens_per_second": batch * new / total,
        "tokens": timed[-1][2][0, skipped:].tolist(),
        "threads": torch.get_num_threads(),
      }
    )
  )


if __name__ == "__main__":
  main()
