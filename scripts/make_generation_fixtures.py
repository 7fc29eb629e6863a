"""Writes tests/generation/decoding/fixtures: what transformers generates from tiny models.

Their parameters are written beside it, as gen's.

  python3 -m venv VENV && VENV/bin/pip install torch transformers
  VENV/bin/python scripts/make_generation_fixtures.py tests/generation/decoding/fixtures

Runs without gen and jax, so that nothing of what it is compared with takes part. Parameters are rounded to float16
before use, which halves the files.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import generation

NEW, VOCAB, WIDTH, HEADS, HIDDEN, DEPTH = 14, 31, 12, 3, 10, 2
PLACES = 48
LAYERS = "target/stack/layers"


def randomize(model: Any, seed: int) -> dict[str, np.ndarray]:
  """Draws parameters for a model and returns them by their names, float32."""
  rng = np.random.default_rng(seed)
  for name, parameter in sorted(model.named_parameters()):
    centre = (
      1.0 if ("norm" in name and name.endswith("weight")) or ("ln_" in name and "weight" in name) else 0.0
    )
    drawn = (centre + 0.45 * rng.normal(size=tuple(parameter.shape))).astype(np.float16)
    parameter.data.copy_(torch.tensor(drawn.astype(np.float32)))
  return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


class Tree(dict[str, np.ndarray]):
  """Parameters by gen's paths, filled from another project's."""

  def put(self, path: str, tensor: np.ndarray, layer: int | None = None) -> None:
    """Sets a parameter, or one layer of a stacked one."""
    if layer is None:
      self[path] = tensor
      return
    stacked = self.setdefault(path, np.zeros((DEPTH, *tensor.shape), np.float32))
    stacked[layer] = tensor

  def norm(self, path: str, theirs: dict[str, np.ndarray], name: str, layer: int | None = None) -> None:
    """Sets a norm."""
    self.put(f"{path}/scale", theirs[f"{name}.weight"], layer)
    if f"{name}.bias" in theirs:
      self.put(f"{path}/bias", theirs[f"{name}.bias"], layer)

  def dense(
    self, path: str, kernel: np.ndarray, bias: np.ndarray | None = None, layer: int | None = None
  ) -> None:
    """Sets a dense layer whose kernel is [inputs, outputs]."""
    self.put(f"{path}/kernel", kernel, layer)
    if bias is not None:
      self.put(f"{path}/bias", bias, layer)

  def heads(self, path: str, kernel: np.ndarray, bias: np.ndarray | None, layer: int) -> None:
    """Sets the projection to queries, keys or values, kernel [D, H K]."""
    self.put(f"{path}/kernel", kernel.reshape(len(kernel), HEADS, -1), layer)
    if bias is not None:
      self.put(f"{path}_bias", bias.reshape(HEADS, -1), layer)

  def out(self, path: str, kernel: np.ndarray, bias: np.ndarray | None, layer: int) -> None:
    """Sets the projection from heads, kernel [H K, D]."""
    self.put(f"{path}/kernel", kernel.reshape(HEADS, -1, kernel.shape[-1]), layer)
    if bias is not None:
      self.put(f"{path}_bias", bias, layer)


COMMON = {
  "vocab": VOCAB,
  "width": WIDTH,
  "heads": HEADS,
  "head_width": WIDTH // HEADS,
  "depth": DEPTH,
  "tied": True,
}
BIASED = {"bias": True, "norm_bias": True}


def gpt2(seed: int) -> tuple[Any, Tree, dict[str, Any]]:
  """Returns a GPT-2, its parameters and its config here."""
  config = transformers.GPT2Config(
    vocab_size=VOCAB, n_embd=WIDTH, n_head=HEADS, n_layer=DEPTH, n_inner=HIDDEN, n_positions=PLACES,
    bos_token_id=None, eos_token_id=None,
  )  # fmt: skip
  model = transformers.GPT2LMHeadModel(config).eval()
  theirs, tree = randomize(model, seed), Tree()
  tree.put("embedding/embedding", theirs["transformer.wte.weight"])
  tree.put("target/embeddings/positions/embedding", theirs["transformer.wpe.weight"])
  tree.norm("target/stack/norm", theirs, "transformer.ln_f")
  for layer in range(DEPTH):
    h = f"transformer.h.{layer}"
    tree.norm(f"{LAYERS}/attention_norm", theirs, f"{h}.ln_1", layer)
    tree.norm(f"{LAYERS}/feed_forward_norm", theirs, f"{h}.ln_2", layer)
    kernels = np.split(theirs[f"{h}.attn.c_attn.weight"], 3, axis=1)
    biases = np.split(theirs[f"{h}.attn.c_attn.bias"], 3)
    for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
      tree.heads(f"{LAYERS}/attention/{part}", kernel, bias, layer)
    c = f"{h}.attn.c_proj"
    tree.out(f"{LAYERS}/attention/out", theirs[f"{c}.weight"], theirs[f"{c}.bias"], layer)
    for part, name in (("in", "c_fc"), ("out", "c_proj")):
      m = f"{h}.mlp.{name}"
      tree.dense(f"{LAYERS}/feed_forward/{part}", theirs[f"{m}.weight"], theirs[f"{m}.bias"], layer)
  ours = {"family": "decoder", "positions": "learned", "context": PLACES, "feed_forward": HIDDEN}
  return model, tree, COMMON | BIASED | ours | {"activation": "gelu_tanh"}


def bloom(seed: int) -> tuple[Any, Tree, dict[str, Any]]:
  """Returns a BLOOM, its parameters and its config here."""
  config = transformers.BloomConfig(
    vocab_size=VOCAB, hidden_size=WIDTH, n_layer=DEPTH, n_head=HEADS, bos_token_id=None, eos_token_id=None
  )
  model = transformers.BloomForCausalLM(config).eval()
  theirs, tree = randomize(model, seed), Tree()
  tree.put("embedding/embedding", theirs["transformer.word_embeddings.weight"])
  tree.norm("target/embeddings/norm", theirs, "transformer.word_embeddings_layernorm")
  tree.norm("target/stack/norm", theirs, "transformer.ln_f")
  for layer in range(DEPTH):
    h = f"transformer.h.{layer}"
    tree.norm(f"{LAYERS}/attention_norm", theirs, f"{h}.input_layernorm", layer)
    tree.norm(f"{LAYERS}/feed_forward_norm", theirs, f"{h}.post_attention_layernorm", layer)
    fused = f"{h}.self_attention.query_key_value"  # by head: its query, its key, its value
    kernel = theirs[f"{fused}.weight"].reshape(HEADS, 3, -1, WIDTH)
    bias = theirs[f"{fused}.bias"].reshape(HEADS, 3, -1)
    for index, part in enumerate(("query", "key", "value")):
      columns = kernel[:, index].reshape(-1, WIDTH).T
      tree.heads(f"{LAYERS}/attention/{part}", columns, bias[:, index].reshape(-1), layer)
    d = f"{h}.self_attention.dense"
    tree.out(f"{LAYERS}/attention/out", theirs[f"{d}.weight"].T, theirs[f"{d}.bias"], layer)
    for part, name in (("in", "dense_h_to_4h"), ("out", "dense_4h_to_h")):
      m = f"{h}.mlp.{name}"
      tree.dense(f"{LAYERS}/feed_forward/{part}", theirs[f"{m}.weight"].T, theirs[f"{m}.bias"], layer)
  ours = {"family": "decoder", "positions": "alibi", "embedding_norm": True, "activation": "gelu_tanh"}
  return model, tree, COMMON | BIASED | ours


def t5(seed: int) -> tuple[Any, Tree, dict[str, Any]]:
  """Returns a T5, its parameters and its config here."""
  config = transformers.T5Config(
    vocab_size=VOCAB, d_model=WIDTH, d_kv=WIDTH // HEADS, d_ff=HIDDEN, num_layers=DEPTH, num_heads=HEADS,
    relative_attention_num_buckets=8, relative_attention_max_distance=11, decoder_start_token_id=0,
    pad_token_id=0, eos_token_id=None,
  )  # fmt: skip
  model = transformers.T5ForConditionalGeneration(config).eval()
  theirs, tree = randomize(model, seed), Tree()
  tree.put("embedding/embedding", theirs["shared.weight"])
  for side, ours, cross in (("encoder", "source", False), ("decoder", "target", True)):
    stack = f"{ours}/stack/layers"
    relative = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    tree.put(f"{ours}/relative/embedding", theirs[relative])
    tree.norm(f"{ours}/stack/norm", theirs, f"{side}.final_layer_norm")
    parts = [("attention", "SelfAttention")] + ([("cross_attention", "EncDecAttention")] if cross else [])
    for layer in range(DEPTH):
      block = f"{side}.block.{layer}.layer"
      for number, (part, name) in enumerate(parts):
        tree.norm(f"{stack}/{part}_norm", theirs, f"{block}.{number}.layer_norm", layer)
        for letter, kind in (("q", "query"), ("k", "key"), ("v", "value")):
          tree.heads(
            f"{stack}/{part}/{kind}", theirs[f"{block}.{number}.{name}.{letter}.weight"].T, None, layer
          )
        tree.out(f"{stack}/{part}/out", theirs[f"{block}.{number}.{name}.o.weight"].T, None, layer)
      last = f"{block}.{len(parts)}"
      tree.norm(f"{stack}/feed_forward_norm", theirs, f"{last}.layer_norm", layer)
      for kind, name in (("in", "wi"), ("out", "wo")):
        kernel = theirs[f"{last}.DenseReluDense.{name}.weight"].T
        tree.dense(f"{stack}/feed_forward/{kind}", kernel, None, layer)
  ours_config = {
    "family": "encoder_decoder", "positions": "relative", "relative_buckets": 8, "relative_distance": 11,
    "norm": "rmsnorm", "norm_epsilon": 1e-6, "attention_scale": 1.0, "activation": "relu",
    "feed_forward": HIDDEN, "logits_scale": WIDTH**-0.5,
  }  # fmt: skip
  return model, tree, COMMON | ours_config


def bart(seed: int) -> tuple[Any, Tree, dict[str, Any]]:
  """Returns a BART, its parameters and its config here."""
  config = transformers.BartConfig(
    vocab_size=VOCAB, d_model=WIDTH, encoder_layers=DEPTH, decoder_layers=DEPTH, encoder_attention_heads=HEADS,
    decoder_attention_heads=HEADS, encoder_ffn_dim=HIDDEN, decoder_ffn_dim=HIDDEN, max_position_embeddings=PLACES,
    decoder_start_token_id=2, pad_token_id=0, bos_token_id=None, eos_token_id=None, forced_eos_token_id=None,
  )  # fmt: skip
  model = transformers.BartForConditionalGeneration(config).eval()
  theirs, tree = randomize(model, seed), Tree()
  tree.put("embedding/embedding", theirs["model.shared.weight"])
  for side, ours, cross in (("encoder", "source", False), ("decoder", "target", True)):
    stack = f"{ours}/stack/layers"
    tree.put(f"{ours}/embeddings/positions/embedding", theirs[f"model.{side}.embed_positions.weight"])
    tree.norm(f"{ours}/embeddings/norm", theirs, f"model.{side}.layernorm_embedding")
    parts = [("attention", "self_attn")] + ([("cross_attention", "encoder_attn")] if cross else [])
    for layer in range(DEPTH):
      block = f"model.{side}.layers.{layer}"
      for part, name in parts:
        tree.norm(f"{stack}/{part}_norm", theirs, f"{block}.{name}_layer_norm", layer)
        for kind in ("query", "key", "value"):
          p = f"{block}.{name}.{kind[0]}_proj"
          tree.heads(f"{stack}/{part}/{kind}", theirs[f"{p}.weight"].T, theirs[f"{p}.bias"], layer)
        p = f"{block}.{name}.out_proj"
        tree.out(f"{stack}/{part}/out", theirs[f"{p}.weight"].T, theirs[f"{p}.bias"], layer)
      tree.norm(f"{stack}/feed_forward_norm", theirs, f"{block}.final_layer_norm", layer)
      for kind, name in (("in", "fc1"), ("out", "fc2")):
        p = f"{block}.{name}"
        tree.dense(f"{stack}/feed_forward/{kind}", theirs[f"{p}.weight"].T, theirs[f"{p}.bias"], layer)
  ours_config = {
    "family": "encoder_decoder", "positions": "learned", "context": PLACES, "position_offset": 2,
    "norm_placement": "post", "embedding_norm": True, "activation": "gelu", "feed_forward": HIDDEN,
  }  # fmt: skip
  return model, tree, COMMON | BIASED | ours_config


def texts(model: Any, prompts: list[list[int]], **options: Any) -> list[dict[str, Any]]:
  """Returns what transformers generates for each prompt alone: new ids and, of beams, the score."""
  texts_written = []
  read = 1 if model.config.is_encoder_decoder else 0
  for prompt in prompts:
    out = model.generate(
      torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
      max_new_tokens=NEW, pad_token_id=0, return_dict_in_generate=True, output_scores=True, **options,
    )  # fmt: skip
    ids = out.sequences[0, read or len(prompt) :].tolist()
    scores = getattr(out, "sequences_scores", None)
    texts_written.append({"ids": ids, "score": None if scores is None else float(scores[0])})
  return texts_written


def lively(make: Any, prompts: list[list[int]]) -> tuple[Any, Tree, dict[str, Any], list[dict[str, Any]]]:
  """Returns, of a few random models, the one whose greedy texts repeat themselves least, and these texts."""
  best: Any = None
  for seed in range(12):
    model, tree, config = make(seed)
    free = texts(model, prompts)
    variety = sum(len(set(text["ids"])) for text in free)
    if best is None or variety > best[0]:
      best = (variety, model, tree, config, free)
  return best[1:]


def decoding(folder: Path) -> None:
  """Writes parameters, and greedy and beam-searched texts, of each model."""
  for make in (gpt2, bloom, t5, bart):
    rng = np.random.default_rng(7)
    prompts = [rng.integers(3, VOCAB, length).tolist() for length in (5, 9, 3)]
    model, tree, config, free = lively(make, prompts)
    eos = max(free[0]["ids"], key=free[0]["ids"].index)  # the one that comes last for the first time
    cases = [
      {"options": {}, "found": free},
      {"options": {"eos": eos}, "found": texts(model, prompts, eos_token_id=eos)},
    ]
    for penalty, early in ((1.0, False), (0.0, "never"), (2.0, False), (1.0, True)):
      options = {"num_beams": 4, "length_penalty": penalty, "early_stopping": early}
      answers = texts(model, prompts, eos_token_id=eos, **options)
      cases.append({"options": options | {"eos": eos}, "found": answers})
    start = model.config.decoder_start_token_id if model.config.is_encoder_decoder else None
    record = {"config": config, "prompts": prompts, "start": start, "new": NEW, "cases": cases}
    halves: dict[str, Any] = {path: value.astype(np.float16) for path, value in tree.items()}
    np.savez_compressed(folder / f"{make.__name__}.npz", **halves)
    (folder / f"{make.__name__}.json").write_text(json.dumps(record) + "\n")


def filters(folder: Path) -> None:
  """Writes distributions after each of transformers' filters."""
  rng = np.random.default_rng(11)
  logits_bv = (2.5 * rng.normal(size=(3, 40))).astype(np.float32)
  seen = rng.integers(0, 40, (3, 12))
  made: dict[str, list[Any]] = {
    "temperature": [(t, generation.TemperatureLogitsWarper(t)) for t in (0.3, 0.8, 1.7)],
    "top_k": [(k, generation.TopKLogitsWarper(k)) for k in (1, 7, 39)],
    "top_p": [(p, generation.TopPLogitsWarper(p)) for p in (0.15, 0.62, 0.95)],
    "min_p": [(p, generation.MinPLogitsWarper(p)) for p in (0.02, 0.3, 1.0)],
    "repetition_penalty": [(r, generation.RepetitionPenaltyLogitsProcessor(r)) for r in (0.8, 1.3, 2.0)],
  }
  arrays: dict[str, Any] = {"logits": logits_bv, "seen": seen}
  for name, filters_of in made.items():
    for value, processor in filters_of:
      out = processor(torch.tensor(seen), torch.tensor(logits_bv.copy()))
      arrays[f"{name}={value}"] = torch.softmax(out, -1).numpy()
  chain = generation.LogitsProcessorList(
    made["repetition_penalty"][1][1:]
    + made["temperature"][1][1:]
    + made["top_k"][1][1:]
    + made["top_p"][2][1:]
    + made["min_p"][0][1:]
  )
  arrays["all"] = torch.softmax(chain(torch.tensor(seen), torch.tensor(logits_bv.copy())), -1).numpy()
  np.savez_compressed(folder / "filters.npz", **arrays)


def main() -> None:
  """Writes all files into the folder that is named."""
  folder = Path(sys.argv[1])
  folder.mkdir(parents=True, exist_ok=True)
  torch.set_num_threads(1)
  with torch.no_grad():
    filters(folder)
    decoding(folder)


if __name__ == "__main__":
  main()
