"""What a run is made of: plain dataclasses, derived sizes, validation, JSON and a hash.

Letters: D width, L depth, H heads, G key and value heads, K head width, F feed-forward width, V vocab, T length,
B batch. A size of 0 means "derived"; each class says from what. Nothing here imports jax.
"""

import dataclasses
import hashlib
import json
from typing import Any, get_args, get_origin

from gen.errors import UserError

TRANSFORMERS = ("encoder", "decoder", "encoder_decoder")
RECURRENT = ("rnn", "lstm", "gru")
FAMILIES = TRANSFORMERS + RECURRENT
STABLE = ("wsd", "wsd_sqrt")  # schedules that stay at the peak until they decay
ATLAS_FAMILIES = ("decoder", "encoder", "encoder_decoder", "lstm")
MESH_AXES = ("data", "fsdp", "tensor")  # outermost first: devices of the innermost are nearest to each other


@dataclasses.dataclass
class Model:
  """Shape of one model; every other size is derived. A recurrent one has D units in each of its L layers."""

  family: str = "decoder"  # encoder | decoder | encoder_decoder | rnn | lstm | gru
  vocab: int = 0  # V; 0 takes the tokenizer's
  width: int = 128  # D, residual stream
  depth: int = 4  # L; of the encoder in an encoder-decoder
  decoder_depth: int = 0  # of the decoder in an encoder-decoder; 0 is depth
  decoder_heads: int = 0  # of the decoder in an encoder-decoder, of the same H K; 0 is heads
  decoder_feed_forward: int = 0  # of the decoder in an encoder-decoder; 0 is feed_forward
  head_width: int = 32  # K
  heads: int = 0  # H; 0 is width / head_width
  key_value_heads: int = 0  # G; 0 is heads, 1 is multi-query attention
  feed_forward: int = 0  # F; 0 is 4 width
  context: int = 0  # longest input that learned positions serve; 0 is the data's length
  activation: str = "gelu_tanh"  # relu | gelu | gelu_tanh | geglu | swiglu
  norm: str = "layernorm"  # layernorm | rmsnorm
  norm_placement: str = "pre"  # pre | post
  norm_epsilon: float = 1e-5  # added to the variance
  bias: bool = False  # of dense layers
  norm_bias: bool = False  # of LayerNorm
  positions: str = "rotary"  # none | learned | sinusoidal | rotary | relative | alibi | transformer_xl
  relative_buckets: int = 32  # T5's buckets
  relative_distance: int = 128  # T5's longest distance of its own bucket
  rotary_base: float = 10_000.0  # of rotary positions: the longest wavelength over 2 pi
  attention_scale: float = 0.0  # factor on the scores; 0 is 1 / sqrt(head_width)
  attention_scale_by_layer: bool = False  # scores of layer l (1, 2, ...) are divided by l (GPT-2's variant)
  qk_norm: bool = False  # norm of queries and keys before their product
  embedding_norm: bool = False  # norm after the embedding (BERT, BLOOM)
  final_norm: bool = True  # norm after the last block (pre-norm)
  token_types: int = 0  # sentence types (BERT: 2)
  position_offset: int = 0  # RoBERTa and BART count learned positions from 2
  embedding_scale: float = 1.0  # factor on embeddings (original Transformer: sqrt(width))
  logits_scale: float = 1.0  # factor on hidden states before the logits (T5: 1 / sqrt(width))
  logits_soft_cap: float = 0.0  # c tanh(logits / c); 0 is none
  tied: bool = False  # logits from the embedding's transpose
  head_transform: bool = False  # dense, activation and norm before the logits (BERT)
  head_activation: str = ""  # of head_transform; empty is activation
  head_bias: bool = False  # bias of the logits
  pooler: bool = False  # BERT's tanh layer on the first position
  residual: bool = False  # recurrent layers as pre-norm residual branches, as in a decoder
  carry: bool = False  # recurrent: a row starts from the state that data.stream's row before it left
  dropout: float = 0.0  # probability, in training
  initializer_scale: float = 1.0  # factor on every initial standard deviation
  dtype: str = "float32"  # of compute; parameters are float32
  scan: bool = False  # one compiled block for all layers: flat compile time
  remat: str = "none"  # none | dots | full
  attention: str = "auto"  # plain | fused, by a kernel of the backend's | auto, by one where it has one
  loss_chunk: int = 0  # tokens whose logits exist at a time; 0 lets the step choose

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
  def gated(self) -> bool:
    """Whether the feed-forward has a second, gating matrix."""
    return self.activation in ("geglu", "swiglu")

  @property
  def recurrent(self) -> bool:
    """Whether a state, not attention, remembers the text so far."""
    return self.family in RECURRENT

  @property
  def target(self) -> "Model":
    """The shape of the blocks that predict targets, where a decoder's are unlike its encoder's."""
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


@dataclasses.dataclass
class Data:
  """Where text comes from and how it becomes rows."""

  corpus: str = "environment"  # environment[:docstrings|:code] | a path or glob | FORMAT:PATH | tfds:NAME
  field: str = "text"  # of records: JSON, tables, parquet, TFDS
  split: str = "train"  # of TFDS sets
  validation_fraction: float = 0.05  # of files (documents where a source has no files)
  tokenizer: str = "bytes"  # bytes | bpe | unigram
  vocab: int = 4096  # text ids of a trained tokenizer
  objective: str = "causal"  # causal | prefix | masked | span_corruption | infilling | ul2 | ...
  length: int = 128  # T, positions per row
  batch: int = 16  # B, rows per step
  stream: bool = False  # row b of each batch goes on where row b of the batch before it ended
  validation_tokens: int = 131_072  # at least so many are evaluated, if the corpus has them
  cache: str = ""  # folder of corpora, tokenizers and compiled programs; empty: $GEN_CACHE or ~/.cache/gen


@dataclasses.dataclass
class Optimizer:
  """AdamW with a schedule; fractions are of the horizon."""

  peak_learning_rate: float = 3e-3  # reached at the end of the warmup
  schedule: str = "linear"  # linear | cosine | constant | wsd | wsd_sqrt
  warmup: float = 0.05  # fraction of the steps
  decay: float = 0.2  # fraction of the steps that decay (wsd, wsd_sqrt)
  final: float = 0.0  # last learning rate as a fraction of the peak (all but constant)
  beta1: float = 0.9  # decay of the first moment, per step
  beta2: float = 0.98  # decay of the second moment, per step
  epsilon: float = 1e-8  # added to the root of the second moment
  weight_decay: float = 0.1  # decoupled; on parameters of rank 2 and above
  clip: float = 1.0  # global gradient norm; 0 is none
  microbatches: int = 1  # gradient accumulation: the batch in so many parts
  z_loss: float = 0.0  # weight of log(Z)^2 (PaLM)
  label_smoothing: float = 0.0  # share of the target spread over the vocabulary
  most_skipped: int = 20  # steps with a gradient that is not finite before the run ends


@dataclasses.dataclass
class Run:
  """One training run. Its horizon is exactly one of steps, tokens and flops."""

  name: str = ""  # also the folder under runs/ where no --workdir is given
  seed: int = 0  # of parameters, data order and dropout
  model: Model = dataclasses.field(default_factory=Model)
  data: Data = dataclasses.field(default_factory=Data)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  steps: int = 0  # length of the run; exactly one of steps, tokens and flops
  tokens: float = 0.0  # length of the run in tokens
  flops: float = 0.0  # length of the run in training FLOPs
  steps_per_dispatch: int = 16  # steps that one compiled call runs
  log_every: int = 0  # steps; 0 is about 50 rows a run
  evaluate_every: int = 0  # steps; 0 is only at the end
  checkpoint_every: int = 0  # steps; 0 goes by checkpoint_seconds
  checkpoint_seconds: float = 30.0  # seconds between two checkpoints
  keep_checkpoints: int = 2  # the latest so many stay
  tensorboard: bool = False  # also write TensorBoard events
  mesh: str = ""  # how many devices each axis has, as data=4,fsdp=2,tensor=2; empty: one device and no mesh
  layout: str = "ddp"  # ddp | zero1 | zero2 | zero3: what is split over data; fsdp splits everything
  trunk: str = (
    ""  # folder beside the run's, of the trunk that it branches off (gen/training/trunks.py); or none
  )
  branches: tuple[float, ...] = ()  # FLOPs of all runs that branch off that trunk


@dataclasses.dataclass
class Criteria:
  """What makes a sweep credible, said before it is run. One field a criterion."""

  least_points_each_side: int = 2  # of the vertex of each valley
  least_r_squared: float = 0.9  # of each valley's parabola
  least_size_span: float = 4.0  # largest over smallest N of a valley
  most_exponent_gap: float = 0.05  # |a2 - a3|
  most_held_out_loss_error: float = 0.02  # relative
  most_held_out_size_factor: float = 2.0  # of N* at the held-out budget
  most_leave_out_shift: float = 0.05  # of a, any one budget left out
  least_exponent: float = 0.40  # sanity band of a
  most_exponent: float = 0.65  # upper end of that band
  least_steps: int = 1000  # a shorter run is left out of the fits
  confidence: float = 0.90  # of all intervals


@dataclasses.dataclass
class Sweep(Run):
  """A study of several runs: `widths[i]` are trained for `budgets[i]` each, which are FLOPs (IsoFLOP) by default.

  `counted` says what a budget is: flops; tokens (one width at several is a study of fixed N); tokens_per_parameter;
  steps. `rates` and `seeds` are further axes: every run at so many multiples of the rule's learning rate.
  `trunks` lets runs that differ in budget alone share what comes before their learning rates decay.
  The fields it shares with `Run` are those of every run; model.width, depth, batch and the learning rate come
  from the rules below. Where model.heads is set, every size has so many heads, each width / heads wide.
  """

  budgets: tuple[float, ...] = ()  # how long runs are, in what `counted` names; FLOPs unless that is set
  widths: tuple[tuple[int, ...], ...] = ()  # one tuple a budget
  batches: tuple[int, ...] = ()  # rows per step, one a budget (one more: the held-out's); empty: data.batch
  least_updates: int = 0  # a run's batch is halved while it would have fewer steps
  most_updates: int = 0  # a run's batch is doubled while it would have more steps; 0: never
  depths: tuple[tuple[int, int], ...] = ()  # (width, depth) where the depth is not model.depth
  seeds: tuple[int, ...] = ()  # seeds a budget; empty: one
  counted: str = "flops"  # flops | tokens | tokens_per_parameter | steps: what budgets and held_out are
  trunks: bool = False  # each size is one run at a constant rate, each budget a branch that decays (wsd)
  rates: tuple[float, ...] = ()  # multiples of the rule's learning rate that each run is trained at; empty: 1
  held_out: float = 0.0  # of the budget that fits do not see; 0 is none
  held_out_widths: tuple[int, ...] = ()  # sizes of the held-out budget
  rate_width: float = 64.0  # learning rate = peak * (width / rate_width)^rate_width_power * ...
  rate_width_power: float = 0.0  # exponent of the width in that rule
  rate_steps: float = 10_000.0  # ... * (steps / rate_steps)^rate_steps_power
  rate_steps_power: float = 0.0  # exponent of the steps in that rule
  rate_batch_power: float = 0.0  # ... * (batch / data.batch)^rate_batch_power
  bootstraps: int = 1000  # resamples behind each interval
  workers: int = 0  # 0: one per core
  criteria: Criteria = dataclasses.field(default_factory=Criteria)


@dataclasses.dataclass
class Atlas:
  """IsoFLOP studies of several families on the same text; each keeps its own sizes, rates and objective."""

  name: str = ""  # also the folder under runs/ where no --workdir is given
  decoder: Sweep = dataclasses.field(default_factory=Sweep)
  encoder: Sweep = dataclasses.field(default_factory=Sweep)
  encoder_decoder: Sweep = dataclasses.field(default_factory=Sweep)
  lstm: Sweep = dataclasses.field(default_factory=Sweep)
  bootstraps: int = 1000  # of every study, and of what sets them side by side
  seed: int = 0  # of the draws
  workers: int = 0  # 0: one per core

  @property
  def studies(self) -> dict[str, Sweep]:
    """The study of each family, by its name."""
    return {name: getattr(self, name) for name in ATLAS_FAMILIES}


def to_dict(config: Any) -> dict[str, Any]:
  """Returns the config as plain values that JSON can hold."""
  return dataclasses.asdict(config)


def from_dict(kind: type, values: dict[str, Any]) -> Any:
  """Rebuilds a config; the inverse of `to_dict`, also after a trip through JSON.

  Raises:
    UserError: for a field that `kind` does not have, or a value that is not of its type.
  """
  name_of_kind = kind.__name__.lower()
  if not isinstance(values, dict):
    raise UserError(f"{name_of_kind} is {str(values)[:40]!r}; it must be an object with the fields of one")
  fields = {field.name: field for field in dataclasses.fields(kind)}
  unknown = sorted(set(values) - set(fields))
  if unknown:
    raise UserError(f"{name_of_kind} has no field {unknown[0]!r}; it has {', '.join(fields)}")
  built = {}
  for name, value in values.items():
    kind_of_field: Any = fields[name].type
    if dataclasses.is_dataclass(kind_of_field):
      value = from_dict(kind_of_field, value)  # type: ignore[arg-type]
    elif isinstance(value, list):
      value = _tuples(value)
    if not _is_of(value, kind_of_field):
      raise UserError(
        f"{name_of_kind}: {name} is {str(value)[:40]!r}, which is not of type {_type_name(kind_of_field)}"
      )
    built[name] = value
  return kind(**built)


def _is_of(value: Any, kind: Any) -> bool:
  """Returns whether a value may be that of a field; whole numbers are numbers, booleans are not."""
  if get_origin(kind) is tuple:
    inner = get_args(kind)
    kinds = [inner[0]] * len(value) if isinstance(value, tuple) and inner[-1] is ... else inner
    return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_of, value, kinds))
  if isinstance(value, bool):
    return kind is bool
  if kind is int and isinstance(value, float):
    return value.is_integer()
  return isinstance(value, (int, float) if kind is float else kind)


def _type_name(kind: Any) -> str:
  return str(kind) if get_origin(kind) else kind.__name__


def _tuples(value: Any) -> Any:
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def mesh_shape(mesh: str) -> dict[str, int]:
  """Returns how many devices each axis of a mesh has, outermost first; nothing for no mesh.

  >>> mesh_shape("tensor=2,data=4")
  {'data': 4, 'tensor': 2}

  Raises:
    UserError: for an axis that there is not, or is named twice, and for a number that is none.
  """
  sizes: dict[str, int] = {}
  for part in filter(None, mesh.replace(" ", "").split(",")):
    name, _, number = part.partition("=")
    if name not in MESH_AXES or name in sizes:
      what = "names each axis once" if name in sizes else f"has the axes {', '.join(MESH_AXES)}"
      raise UserError(f"mesh {mesh!r}: axis {name!r} cannot be; a mesh {what}, as in data=4,tensor=2")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
      raise UserError(f"mesh {mesh!r}: {name} is {number!r}; it must be a number of devices, as in {name}=4")
    sizes[name] = int(number)
  return {name: sizes[name] for name in MESH_AXES if name in sizes}


# Fields that change where something is computed or written and how often, never what is computed.
_NOT_IDENTITY = (
  "name",
  "log_every",
  "evaluate_every",
  "checkpoint_every",
  "checkpoint_seconds",
  "keep_checkpoints",
  "tensorboard",
  "mesh",
  "layout",
  "trunk",
  "branches",
)


def identity(run: Run) -> dict[str, Any]:
  """Returns the fields of a run that change what it computes."""
  values = to_dict(run)
  for name in _NOT_IDENTITY:
    values.pop(name)
  values["data"].pop("cache")
  values["model"].pop("attention")
  return values


def config_hash(run: Run) -> str:
  """Returns 12 hex digits that name what a run computes."""
  text = json.dumps(identity(run), sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]
