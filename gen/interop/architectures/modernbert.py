"""ModernBERT (arXiv:2412.13663) in the Hugging Face format.

Every n-th layer attends to all tokens, the others to a window on either side, each kind with a rotary base of its own.
The first layer's attention has no norm, because the embedding's stands before it.
"""

from gen.config import Model
from gen.errors import UserError
from gen.interop.architectures import task_heads
from gen.interop.architectures.architecture import (
  LAYERS,
  TOKENS,
  Architecture,
  TensorContents,
  refuse_unsupported,
  split_width,
)
from gen.interop.architectures.hf_config import HfConfig
from gen.interop.architectures.rotary import RotaryFields, read_rotary
from gen.interop.architectures.tensor_layouts import (
  LINEAR,
  LINEAR_FROM_HEADS,
  LINEAR_SIDE_BY_SIDE,
  VECTOR,
  VECTORS_SIDE_BY_SIDE,
)
from gen.interop.architectures.tensor_rows import (
  TensorRow,
  TensorRows,
  dense_rows,
  embedding_row,
  fused_rows,
  norm_rows,
  projection_rows,
)

_LAYER, _GATED = "layers.{}", (f"{LAYERS}/feed_forward/in", f"{LAYERS}/feed_forward/gate")
ROWS: TensorRows = (
  *embedding_row("embeddings.tok_embeddings.weight", TOKENS),
  *norm_rows("embeddings.norm", "target/embeddings/norm"),
  *(row._replace(first=1) for row in norm_rows(f"{_LAYER}.attn_norm", f"{LAYERS}/attention_norm")),
  *fused_rows(f"{_LAYER}.attn.Wqkv", f"{LAYERS}/attention", LINEAR_SIDE_BY_SIDE, VECTORS_SIDE_BY_SIDE),
  *projection_rows(f"{_LAYER}.attn.Wo", f"{LAYERS}/attention/out", LINEAR_FROM_HEADS),
  *norm_rows(f"{_LAYER}.mlp_norm", f"{LAYERS}/feed_forward_norm"),
  TensorRow(f"{_LAYER}.mlp.Wi.weight", tuple(f"{path}/kernel" for path in _GATED), LINEAR_SIDE_BY_SIDE),
  TensorRow(f"{_LAYER}.mlp.Wi.bias", tuple(f"{path}/bias" for path in _GATED), VECTORS_SIDE_BY_SIDE),
  *dense_rows(f"{_LAYER}.mlp.Wo", f"{LAYERS}/feed_forward/out"),
  *norm_rows("final_norm", "target/stack/norm"),
  *dense_rows("head.dense", "head/transform"),
  *norm_rows("head.norm", "head/transform_norm"),
  TensorRow("decoder.bias", ("head/bias",), VECTOR),
  TensorRow("decoder.weight", ("head/logits/kernel",), LINEAR),
)
_KINDS = ("full_attention", "sliding_attention")
_BASES = {"full_attention": "global_rope_theta", "sliding_attention": "local_rope_theta"}


def _model(hf: HfConfig, contents: TensorContents) -> Model:
  refuse_unsupported(hf, hidden_activation="gelu", classifier_activation="gelu")
  biases = [hf.flag(name) for name in ("attention_bias", "mlp_bias", "classifier_bias")]
  if len(set(biases)) > 1:
    raise UserError("config.json: attention_bias, mlp_bias and classifier_bias must be equal")
  head_width, every = split_width(hf, "hidden_size", "num_attention_heads"), _global_every(hf)
  rotary, window_base = _rotary(hf, "full_attention", head_width), 0.0
  if every is None:  # all layers are local
    rotary = _rotary(hf, "sliding_attention", head_width)
  elif every:
    window_base = _rotary(hf, "sliding_attention", head_width)["rotary_base"]
  return Model(
    family="encoder",
    vocab=hf.integer("vocab_size"),
    width=hf.integer("hidden_size"),
    depth=hf.integer("num_hidden_layers"),
    heads=hf.integer("num_attention_heads"),
    head_width=head_width,
    feed_forward=hf.integer("intermediate_size"),
    context=hf.integer("max_position_embeddings"),
    window=_half_window(hf) if every != 0 else 0,
    global_every=every or 0,
    window_rotary_base=window_base,
    activation="geglu_exact",
    norm_epsilon=hf.number("norm_eps"),
    first_norm=False,
    embedding_norm=True,
    bias=biases[0],
    norm_bias=hf.flag("norm_bias"),
    tied=not contents.own_output,
    head_transform=contents.head,
    head_activation="gelu" if contents.head else "",
    head_bias=contents.head and hf.flag("decoder_bias"),
    dropout=hf.number("mlp_dropout"),
    **rotary,
  )


def _global_every(hf: HfConfig) -> int | None:
  """Returns n where layers 0, n, 2 n ... attend to all tokens; 0 if all layers do, None if no layer does.

  Raises:
    UserError: for layers in another order.
  """
  depth, every = hf.integer("num_hidden_layers"), hf.integer("global_attn_every_n_layers")
  kinds = hf.get("layer_types") or [_KINDS[layer % every > 0] for layer in range(depth)]
  if not isinstance(kinds, list) or len(kinds) != depth or any(kind not in _KINDS for kind in kinds):
    raise UserError(f"config.json: layer_types must name one of {', '.join(_KINDS)} for each layer")
  full = [layer for layer, kind in enumerate(kinds) if kind == _KINDS[0]]
  if len(full) in (0, depth):
    return 0 if full else None
  every = full[1] if len(full) > 1 else depth
  if full != list(range(0, depth, every)):
    raise UserError("config.json: only layers 0, n, 2 n ... of layer_types may be full_attention")
  return every


def _half_window(hf: HfConfig) -> int:
  half = hf.integer("local_attention") // 2
  if not half:
    raise UserError(f"config.json: local_attention is {hf.integer('local_attention')}; it must be at least 2")
  return half


def _rotary(hf: HfConfig, kind: str, head_width: int) -> RotaryFields:
  """Returns the rotary positions of the layers of one kind.

  Raises:
    UserError: for values that are not supported.
  """
  every = hf.get("rope_parameters") or {}
  given = every.get(kind) or {} if isinstance(every, dict) else None
  if not isinstance(given, dict):
    raise UserError("config.json: rope_parameters must hold the parameters of each kind of layer")
  fields = read_rotary(hf.replaced({"rope_theta": hf[_BASES[kind]], "rope_parameters": given}), head_width)
  if fields["rotary_width"] or fields["rotary_factor"] != 1.0 or "rotary_context" in fields:
    raise UserError("config.json: rope_parameters of ModernBERT are supported without scaling alone")
  return fields


def _describe(model: Model) -> dict[str, object]:
  every = model.global_every or (model.depth + 1 if model.window else 1)
  kinds = [_KINDS[layer % every > 0] for layer in range(model.depth)]
  if model.window and not model.global_every:
    kinds = [_KINDS[1]] * model.depth
  bases = {_KINDS[0]: model.rotary_base, _KINDS[1]: model.local.rotary_base}
  return {
    "vocab_size": model.vocab,
    "hidden_size": model.width,
    "intermediate_size": model.feed_forward_width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.n_heads,
    "hidden_activation": "gelu",
    "max_position_embeddings": model.context or 8192,
    "norm_eps": model.norm_epsilon,
    "norm_bias": model.norm_bias,
    "attention_bias": model.bias,
    "mlp_bias": model.bias,
    "classifier_bias": model.bias,
    "classifier_activation": "gelu",
    "decoder_bias": model.head_bias,
    "layer_types": kinds,
    "global_attn_every_n_layers": every,
    "local_attention": 2 * model.window or 128,
    "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
    "global_rope_theta": bases[_KINDS[0]],
    "local_rope_theta": bases[_KINDS[1]],
    "attention_dropout": 0.0,
    "embedding_dropout": model.dropout,
    "mlp_dropout": model.dropout,
    "tie_word_embeddings": model.tied,
  }


# The defaults are those of transformers' ModernBertConfig, the base model (arXiv:2412.13663).
MODERNBERT = Architecture(
  name="modernbert",
  prefix="model.",
  defaults={
    "vocab_size": 50_368,
    "hidden_size": 768,
    "intermediate_size": 1152,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "hidden_activation": "gelu",
    "max_position_embeddings": 8192,
    "norm_eps": 1e-5,
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "mlp_dropout": 0.0,
    "classifier_bias": False,
    "classifier_activation": "gelu",
    "classifier_dropout": 0.0,
    "decoder_bias": True,
    "global_attn_every_n_layers": 3,
    "local_attention": 128,
    "global_rope_theta": 160_000.0,
    "local_rope_theta": 10_000.0,
    "partial_rotary_factor": 1.0,
    "pad_token_id": 50_283,
    "tie_word_embeddings": True,
  },
  model=_model,
  describe=_describe,
  rows=lambda _: ROWS,
  head_names=("head.", "decoder."),
  classes={"ModernBertForMaskedLM": True, "ModernBertModel": False},
  tasks=task_heads.modernbert_classes(),
  output="decoder.weight",
  plain_head=False,
  twins=(("embeddings.tok_embeddings.weight", "decoder.weight"),),
)
