"""Llama (arXiv:2302.13971) and decoders with the same names of tensors, in the Hugging Face format.

Mistral (arXiv:2310.06825) has a sliding window, Qwen2 (arXiv:2407.10671) biases of queries, keys and values, Qwen3
(arXiv:2505.09388) norms of queries and keys, Gemma (arXiv:2403.08295) GeGLU and norms of 1 + scale, OLMo 2
(arXiv:2501.00656) norms at the end of a branch, Apertus (arXiv:2509.14233) no gate. StarCoder2 (arXiv:2402.19173) has
LayerNorm and no gate.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gen.config import Model
from gen.errors import UserError
from gen.interop.architectures import task_heads
from gen.interop.architectures.architecture import (
  ACTIVATION_NAMES,
  LARGEST,
  LAYERS,
  TOKENS,
  Architecture,
  TensorContents,
  activation_name,
  refuse_unsupported,
)
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.rotary import describe_rotary, read_rotary
from gen.interop.architectures.tensor_layouts import LINEAR, LINEAR_FROM_HEADS, VECTOR
from gen.interop.architectures.tensor_rows import (
  TensorRow,
  TensorRows,
  dense_rows,
  embedding_row,
  norm_rows,
  projection_rows,
)

_LAYER = "layers.{}"
_GATED = {"silu": "swiglu", "swish": "swiglu", "gelu_new": "geglu", "gelu_pytorch_tanh": "geglu"}
_GATED_NAMES = {"swiglu": "silu", "geglu": "gelu_pytorch_tanh"}
# Values that transformers' LlamaConfig takes where config.json leaves a field out.
_SIZES: dict[str, object] = {
  "hidden_size": 4096,
  "intermediate_size": 11_008,
  "num_hidden_layers": 32,
  "num_attention_heads": 32,
  "num_key_value_heads": None,
  "head_dim": None,
  "hidden_act": "silu",
  "max_position_embeddings": 2048,
  "rms_norm_eps": 1e-6,
  "tie_word_embeddings": False,
  "rope_theta": 10_000.0,
  "partial_rotary_factor": 1.0,
}

# transformers applies the activation to gate_proj, which therefore is "in" here, and multiplies by up_proj, our "gate".
_MLP = {"gate_proj": "in", "up_proj": "gate", "down_proj": "out"}
_PRE_NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "feed_forward_norm"}


def _rows(norms: dict[str, str], feed_forward: dict[str, str]) -> TensorRows:
  """Returns the tensors, with an architecture's names of the norms and dense layers of a block."""
  rows: TensorRows = embedding_row("embed_tokens.weight", TOKENS)
  for theirs, ours in {"q_proj": "query", "k_proj": "key", "v_proj": "value"}.items():
    rows += projection_rows(f"{_LAYER}.self_attn.{theirs}", f"{LAYERS}/attention/{ours}")
  rows += projection_rows(f"{_LAYER}.self_attn.o_proj", f"{LAYERS}/attention/out", LINEAR_FROM_HEADS)
  for theirs, ours in {"q_norm": "query_norm", "k_norm": "key_norm"}.items():
    rows += (TensorRow(f"{_LAYER}.self_attn.{theirs}.weight", (f"{LAYERS}/attention/{ours}/scale",), VECTOR),)
  for theirs, ours in feed_forward.items():
    rows += dense_rows(f"{_LAYER}.mlp.{theirs}", f"{LAYERS}/feed_forward/{ours}")
  for theirs, ours in norms.items():
    rows += norm_rows(f"{_LAYER}.{theirs}", f"{LAYERS}/{ours}")
  rows += norm_rows("norm", "target/stack/norm")
  return (*rows, TensorRow("lm_head.weight", ("head/logits/kernel",), LINEAR))


def _sized(hf: HfConfig, contents: TensorContents) -> Model:
  """Returns a model with the fields that all of these architectures read alike."""
  heads = hf.integer("num_attention_heads")
  # Without the field attention is multi-head; older files have none.
  groups = hf.optional_integer("num_key_value_heads") or heads
  if heads % groups:
    raise UserError(
      f"config.json: num_attention_heads {heads} is not a multiple of num_key_value_heads {groups}"
    )
  head_width = hf.optional_integer("head_dim") or hf.integer("hidden_size") // heads
  if not head_width:
    raise UserError(
      f"config.json: hidden_size {hf.integer('hidden_size')} is less than num_attention_heads {heads}"
    )
  rotary = read_rotary(hf, head_width)
  if rotary["rotary_width"]:  # transformers turns all of a head, whatever the file says
    raise UserError("config.json: partial_rotary_factor must be 1 in this architecture")
  return Model(
    family="decoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("hidden_size"),
    depth=hf.integer("num_hidden_layers"),
    heads=heads,
    key_value_heads=0 if groups == heads else groups,
    head_width=head_width,
    feed_forward=hf.integer("intermediate_size"),
    context=hf.integer("max_position_embeddings"),
    tied=not contents.own_output,
    **rotary,
  )


def _rms(hf: HfConfig, contents: TensorContents) -> Model:
  """Returns a model with RMSNorm and a gated feed-forward."""
  act = hf["hidden_act"]
  if not isinstance(act, str) or act not in _GATED:
    raise UserError(f"config.json: hidden_act {str(act)[:40]!r} is not one of {', '.join(_GATED)}")
  sized = _sized(hf, contents)
  return replace(sized, activation=_GATED[act], norm="rmsnorm", norm_epsilon=hf.number("rms_norm_eps"))


def _window(hf: HfConfig, default: int, full_layers: int = 0) -> int:
  """Returns the window of all layers, 0 for none.

  Args:
    hf: config.json.
    default: its window where it gives none.
    full_layers: how many layers have none, unless it gives the kind of each.

  Raises:
    UserError: if only some layers have one.
  """
  # null in the file means no window; an absent field means the architecture's default.
  window, depth = _count(hf, "sliding_window", default), hf.integer("num_hidden_layers")
  if not window:
    return 0
  full = min(full_layers, depth)
  # Qwen2 counts from below: the first max_window_layers layers see everything.
  kinds = hf.get("layer_types") or ["full_attention"] * full + ["sliding_attention"] * (depth - full)
  if not isinstance(kinds, list) or any(kind != kinds[0] for kind in kinds) or len(kinds) != depth:
    raise UserError("config.json: layers that alternate between local and full attention are not supported")
  return window if kinds[0] == "sliding_attention" else 0


def _count(hf: HfConfig, key: str, default: int) -> int:
  value = hf.get(key, default)
  value = 0 if value is None else value
  if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST:
    raise UserError(f"config.json: {key} must be a whole number, not {str(value)[:40]}")
  return value


def _llama(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, pretraining_tp=1)
  # `model.bias` is one switch for both.
  if hf.flag("attention_bias") != hf.flag("mlp_bias"):
    raise UserError(
      "config.json: attention_bias and mlp_bias must be equal; a bias of one alone is not supported"
    )
  if hf.integer("hidden_size") % hf.integer("num_attention_heads"):
    raise UserError("config.json: hidden_size of a Llama must be a multiple of num_attention_heads")
  return replace(_rms(hf, contents), bias=hf.flag("attention_bias"))


def _mistral(hf: HfConfig, contents: TensorContents) -> Model:
  return replace(_rms(hf, contents), window=_window(hf, 4096))


def _qwen_window(hf: HfConfig) -> int:
  return _window(hf, 4096, _count(hf, "max_window_layers", 28)) if hf.flag("use_sliding_window") else 0


def _qwen2(hf: HfConfig, contents: TensorContents) -> Model:
  return replace(_rms(hf, contents), qkv_bias=True, window=_qwen_window(hf))


def _qwen3(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, attention_bias=False)
  return replace(_rms(hf, contents), qk_norm=True, window=_qwen_window(hf))


def _gemma(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, attention_bias=False, use_bidirectional_attention=False)
  # Older files name the exact activation, but mean the approximation.
  act = hf.get("hidden_activation") or hf["hidden_act"]
  hf = hf.replaced({"hidden_act": "gelu_pytorch_tanh" if act == "gelu" else act})
  # Gemma multiplies embeddings by sqrt(D), and its norms by 1 + scale.
  scale = hf.integer("hidden_size") ** 0.5
  return replace(_rms(hf, contents), norm_offset=True, embedding_scale=scale)


def _olmo2(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, attention_bias=False)
  # One norm over all heads of a token, before they are cut into heads.
  return replace(_rms(hf, contents), norm_placement="output", qk_norm=True, qk_norm_joint=True)


def _apertus(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, attention_bias=False, mlp_bias=False, post_norm=False)
  act = activation_name(hf, "hidden_act")
  return replace(
    _sized(hf, contents), activation=act, norm="rmsnorm", norm_epsilon=hf.number("rms_norm_eps"), qk_norm=True
  )


def _starcoder2(hf: HfConfig, contents: TensorContents) -> Model:
  return replace(
    _sized(hf, contents),
    activation=activation_name(hf, "hidden_act"),
    norm_epsilon=hf.number("norm_epsilon"),
    norm_bias=True,
    bias=hf.flag("use_bias"),
    window=_window(hf, 0),
    dropout=hf.number("residual_dropout"),
  )


def _describe(model: Model) -> dict[str, object]:
  return {
    "vocab_size": model.vocab,
    "hidden_size": model.width,
    "intermediate_size": model.feed_forward_width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.n_heads,
    "num_key_value_heads": model.n_key_value_heads,
    "head_dim": model.head_width,
    "hidden_act": _GATED_NAMES.get(
      model.activation, ACTIVATION_NAMES.get(model.activation, model.activation)
    ),
    "max_position_embeddings": model.context or _SIZES["max_position_embeddings"],
    "rms_norm_eps": model.norm_epsilon,
    "tie_word_embeddings": model.tied,
    "attention_dropout": 0.0,
    **describe_rotary(model),
  }


def _describe_llama(model: Model) -> dict[str, object]:
  return _describe(model) | {"attention_bias": model.bias, "mlp_bias": model.bias}


def _describe_mistral(model: Model) -> dict[str, object]:
  return _describe(model) | {"sliding_window": model.window or None}


def _describe_qwen(model: Model) -> dict[str, object]:
  kind = "sliding_attention" if model.window else "full_attention"
  return _describe(model) | {
    "use_sliding_window": bool(model.window),
    "sliding_window": model.window or None,
    "max_window_layers": 0 if model.window else model.depth,
    "layer_types": [kind] * model.depth,
  }


def _describe_starcoder2(model: Model) -> dict[str, object]:
  values = _describe(model)
  values["norm_epsilon"] = values.pop("rms_norm_eps")
  dropouts = {"residual_dropout": model.dropout, "embedding_dropout": model.dropout}
  return values | dropouts | {"use_bias": model.bias, "sliding_window": model.window or None}


def _architecture(
  name: str,
  kind: str,
  model: Callable[[HfConfig, TensorContents], Model],
  defaults: Mapping[str, object],
  describe: Callable[[Model], dict[str, object]] = _describe,
  rows: TensorRows | None = None,
  tasks: str = "classify tag",
) -> Architecture:
  table = _rows(_PRE_NORMS, _MLP) if rows is None else rows
  return Architecture(
    name=name,
    prefix="model.",
    defaults=_SIZES | dict(defaults),
    model=model,
    describe=describe,
    rows=lambda _: table,
    head_names=("lm_head.",),
    classes={f"{kind}ForCausalLM": True, f"{kind}Model": False},
    tasks=task_heads.decoder_classes(kind, tasks),
    output="lm_head.weight",
    plain_head=True,
    twins=(("embed_tokens.weight", "lm_head.weight"),),
    # A constant that older files store; it follows from rope_theta.
    unused=(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
  )


_QWEN = {
  "vocab_size": 151_936, "intermediate_size": 22_016, "max_position_embeddings": 32_768, "use_sliding_window": False
}  # fmt: skip
# 32,000 is LlamaConfig's vocabulary, that of the first Llama (arXiv:2302.13971).
LLAMA = _architecture(
  "llama",
  "Llama",
  _llama,
  {"vocab_size": 32_000, "attention_bias": False, "mlp_bias": False},
  _describe_llama,
)
MISTRAL = _architecture(
  "mistral", "Mistral", _mistral,
  {"vocab_size": 32_000, "intermediate_size": 14_336, "num_key_value_heads": 8,
   "max_position_embeddings": 131_072},
  _describe_mistral,
)  # fmt: skip
QWEN2 = _architecture("qwen2", "Qwen2", _qwen2, _QWEN, _describe_qwen)
# Qwen3Config has its own head width, which need not be width / heads (arXiv:2505.09388).
QWEN3 = _architecture("qwen3", "Qwen3", _qwen3, _QWEN | {"head_dim": 128}, _describe_qwen)
GEMMA = _architecture(
  "gemma", "Gemma", _gemma,
  {"vocab_size": 256_000, "hidden_size": 3072, "intermediate_size": 24_576, "num_hidden_layers": 28,
   "num_attention_heads": 16, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "max_position_embeddings": 8192,
   "tie_word_embeddings": True},
)  # fmt: skip
OLMO2 = _architecture(
  "olmo2", "Olmo2", _olmo2, {"vocab_size": 50_304, "rms_norm_eps": 1e-5},
  rows=_rows(
    {"post_attention_layernorm": "attention_norm", "post_feedforward_layernorm": "feed_forward_norm"}, _MLP
  ),
  tasks="classify",
)  # fmt: skip
APERTUS = _architecture(
  "apertus", "Apertus", _apertus,
  {"vocab_size": 131_072, "intermediate_size": 14_336, "hidden_act": "xielu", "max_position_embeddings": 65_536,
   "rms_norm_eps": 1e-5, "rope_theta": 12_000_000.0},
  rows=_rows(
    {"attention_layernorm": "attention_norm", "feedforward_layernorm": "feed_forward_norm"},
    {"up_proj": "in", "down_proj": "out"},
  ),
  tasks="tag",
)  # fmt: skip
STARCODER2 = _architecture(
  "starcoder2", "Starcoder2", _starcoder2,
  {"vocab_size": 49_152, "hidden_size": 3072, "intermediate_size": 12_288, "num_hidden_layers": 30,
   "num_attention_heads": 24, "num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh",
   "max_position_embeddings": 4096, "norm_epsilon": 1e-5, "use_bias": True, "residual_dropout": 0.0,
   "tie_word_embeddings": True},
  _describe_starcoder2,
  _rows(_PRE_NORMS, {"c_fc": "in", "c_proj": "out"}),
)  # fmt: skip
