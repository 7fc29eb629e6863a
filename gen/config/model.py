"""The shape of a model; sizes that are not set are derived here.

Letters: D width, L depth, H heads, G key and value heads, K head width, F feed-forward width, V vocab, T length.
"""

import dataclasses
from typing import NamedTuple

from gen.config.families import RECURRENT
from gen.config.references import HoldsReferences


class DefaultText(str):
  """A default that programs may replace by the machine's own; equal to its text, and to what a user may have written.

  It stays one when a config is copied, and becomes plain text when the user sets it or when it is read from JSON.
  """

  __slots__ = ()


class TrainingFormats(NamedTuple):
  """What a training with fake quantization rounds.

  Attributes:
    weights: none | int8 | int4, of the kernels of layers.
    activations: none | int8 | int4, of their inputs.
    group: inputs that share a scale; 0: int8 has one for each output, int4 the largest divisor up to 64.
  """

  weights: str
  activations: str
  group: int


@dataclasses.dataclass
class Model(HoldsReferences):
  """Shape of a model; other sizes are derived. A recurrent model has D units in each of its L layers.

  Some fields may name functions and flax modules of the user's own (docs/extending.md); in Python these themselves can
  be given.
  """

  own_code = (
    "model.family",
    "model.activation",
    "model.positions",
    "model.block",
    "model.attention_module",
    "model.feed_forward_module",
  )

  family: str = "decoder"  # encoder | decoder | encoder_decoder | rnn | lstm | gru | a module, as mine.py:Bag
  vocab: int = 0  # V; 0 takes the tokenizer's
  width: int = 128  # D, residual stream; the default model trains in minutes on two cores
  depth: int = 4  # L; of the encoder in an encoder-decoder
  decoder_depth: int = 0  # of the decoder in an encoder-decoder; 0 is depth
  decoder_heads: int = 0  # of the decoder in an encoder-decoder, of the same H K; 0 is heads
  decoder_feed_forward: int = 0  # of the decoder in an encoder-decoder; 0 is feed_forward
  head_width: int = 32  # K; four heads at the default width
  heads: int = 0  # H; 0 is width / head_width
  key_value_heads: int = 0  # G; 0 is heads, 1 is multi-query attention
  feed_forward: int = 0  # F; 0 is 4 width
  context: int = 0  # longest input, the number of learned positions; 0 is the data's length
  activation: str = (
    "gelu_tanh"  # relu | gelu | gelu_tanh | geglu | geglu_exact | swiglu | a function, as jax.nn:silu
  )
  norm: str = "layernorm"  # layernorm | rmsnorm
  norm_placement: str = "pre"  # pre | post | output, of each branch before the sum (OLMo 2)
  norm_epsilon: float = 1e-5  # added to the variance; GPT-2's, and the usual one
  first_norm: bool = True  # norm before the first layer's attention (pre-norm; ModernBERT has none)
  norm_offset: bool = False  # norms multiply by 1 + scale (Gemma)
  bias: bool = False  # of dense layers
  qkv_bias: bool = False  # of queries, keys and values, where bias is false (Qwen2)
  norm_bias: bool = False  # of LayerNorm
  positions: str = (
    "rotary"  # none | learned | sinusoidal | rotary | relative | alibi | transformer_xl | a function
  )
  relative_buckets: int = 32  # T5's buckets (arXiv:1910.10683, section 2.1)
  relative_distance: int = 128  # distance from which on all are in T5's last bucket (section 2.1)
  rotary_base: float = 10_000.0  # of rotary positions: the longest wavelength over 2 pi (arXiv:2104.09864)
  rotary_width: int = 0  # dimensions of a head that turn; 0 is head_width (GPT-NeoX: a quarter)
  rotary_factor: float = 1.0  # on wavelengths (linear scaling)
  rotary_context: int = 0  # Llama 3: rotary_factor is for wavelengths over rotary_context / rotary_low
  rotary_low: float = 1.0  # Llama 3's low_freq_factor, as its config.json has it
  rotary_high: float = 4.0  # Llama 3's high_freq_factor: shorter wavelengths than context / high stay
  # Tokens that a query of a decoder attends to, itself included (Mistral), or of an encoder on either side; 0 is all.
  window: int = 0
  global_every: int = (
    0  # of an encoder with a window: layers 0, n, 2 n ... attend to all (ModernBERT); 0 is none
  )
  window_rotary_base: float = (
    0.0  # rotary_base of the layers with a window, beside global ones; 0 is the same
  )
  attention_scale: float = 0.0  # factor on the scores; 0 is 1 / sqrt(head_width)
  attention_scale_by_layer: bool = False  # scores of layer l (1, 2, ...) are divided by l (GPT-2's variant)
  qk_norm: bool = False  # norm of queries and keys before their product
  qk_norm_joint: bool = False  # that norm is over all heads together (OLMo 2)
  parallel: bool = False  # attention and feed-forward read the same input (GPT-NeoX)
  embedding_norm: bool = False  # norm after the embedding (BERT, BLOOM)
  final_norm: bool = True  # norm after the last block (pre-norm)
  token_types: int = 0  # sentence types (BERT: 2)
  position_offset: int = 0  # RoBERTa and BART count learned positions from 2
  embedding_scale: float = 1.0  # factor on embeddings (original Transformer: sqrt(width), for sinusoids)
  logits_scale: float = 1.0  # factor on hidden states before the logits (T5: 1 / sqrt(width))
  logits_soft_cap: float = 0.0  # c tanh(logits / c); 0 is none
  tied: bool = False  # logits from the embedding's transpose
  head_transform: bool = False  # dense, activation and norm before the logits (BERT)
  head_activation: str = ""  # of head_transform; empty is activation
  head_bias: bool = False  # bias of the logits
  pooler: bool = False  # BERT's tanh layer on the first position
  residual: bool = False  # recurrent layers as pre-norm residual branches, as in a decoder
  carry: bool = (
    False  # recurrent: a row starts from the last state of the row that it continues (data.stream)
  )
  dropout: float = 0.0  # probability, in training
  initializer_scale: float = 1.0  # factor on every initial standard deviation
  # Of compute; parameters are float32. If it is not set, a run on a GPU or TPU takes bfloat16 (docs/accelerators.md).
  dtype: str = DefaultText("float32")
  scan: bool = False  # compile one block for all layers: compile time does not grow with depth
  remat: str = "none"  # activations that the backward pass computes again: none | dots | full
  attention: str = (
    "auto"  # plain | fused: a kernel of the backend | auto: fused where the backend has a kernel
  )
  loss_chunk: int = 0  # tokens whose logits exist at a time; 0 lets the step choose
  cache_format: str = "float"  # float | int8: of keys and values while text is generated
  # Quantization-aware training: kernels of layers, and the inputs of their products, are rounded in the forward pass.
  quantize_weights: str = "none"  # none | int8 | int4
  quantize_activations: str = "none"  # none | int8 | int4, one scale for each token
  quantize_group: int = 0  # inputs that share a scale; 0: int8 one scale an output, int4 a divisor up to 64
  block: str = ""  # a flax module in the place of each block, as mine.py:Block; empty: the transformer's
  attention_module: str = ""  # one in the place of self-attention
  feed_forward_module: str = ""  # one in the place of the feed-forward

  @property
  def role(self) -> str:
    """The family whose objectives a model is trained on: a family of the user's own is a decoder."""
    return "decoder" if ":" in self.family else self.family

  @property
  def training_formats(self) -> TrainingFormats | None:
    """What training rounds; None for nothing."""
    if self.quantize_weights == "none" == self.quantize_activations:
      return None
    return TrainingFormats(self.quantize_weights, self.quantize_activations, self.quantize_group)

  @property
  def n_heads(self) -> int:
    """H."""
    return self.heads or max(1, self.width // self.head_width)

  @property
  def n_key_value_heads(self) -> int:
    """G."""
    return self.key_value_heads or self.n_heads

  @property
  def attention_width(self) -> int:
    """H K, which need not be the width (Chinchilla, T5)."""
    return self.n_heads * self.head_width

  @property
  def key_value_width(self) -> int:
    """G K."""
    return self.n_key_value_heads * self.head_width

  @property
  def feed_forward_width(self) -> int:
    """F."""
    return self.feed_forward or 4 * self.width

  @property
  def turned_width(self) -> int:
    """Dimensions of a head that rotary positions turn."""
    return self.rotary_width or self.head_width

  @property
  def gated(self) -> bool:
    """Whether the feed-forward has a second, gating matrix."""
    return self.activation in ("geglu", "geglu_exact", "swiglu")

  @property
  def numbered(self) -> bool:
    """Whether a layer's number decides what it computes."""
    return self.attention_scale_by_layer or self.global_every > 0 or not self.first_norm

  @property
  def local(self) -> "Model":
    """The shape whose positions are those of the layers with a window."""
    return dataclasses.replace(self, rotary_base=self.window_rotary_base or self.rotary_base)

  @property
  def recurrent(self) -> bool:
    """Whether the model has a recurrent state instead of attention."""
    return self.family in RECURRENT

  @property
  def target(self) -> "Model":
    """The shape of the decoder's blocks, if they differ from those of its encoder."""
    if not (self.decoder_heads or self.decoder_feed_forward):
      return self
    heads = self.decoder_heads or self.n_heads
    return dataclasses.replace(
      self,
      heads=heads,
      head_width=self.attention_width // heads,
      feed_forward=self.decoder_feed_forward or self.feed_forward_width,
    )

  @property
  def target_depth(self) -> int:
    """Layers of the stack that predicts targets."""
    return (self.decoder_depth or self.depth) if self.family == "encoder_decoder" else self.depth
