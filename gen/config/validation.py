"""Validates a run before anything is built; each mistake gives one sentence."""

import dataclasses
import os
from typing import Any

from gen.config import (
  FAMILIES,
  RECURRENT,
  STABLE,
  Data,
  Model,
  Optimizer,
  Run,
  field_ranges,
  mesh_shape,
  mixture,
  parameter_patterns,
  user_sources,
)
from gen.config.optimizer import OPTIMIZER_NAMES
from gen.config.profile_steps import parse_profile
from gen.config.references import CORPUS
from gen.config.user_sources import FIELDS
from gen.errors import UserError
from gen.io import user_code

CHOICES = {
  "model.family": FAMILIES,
  "model.activation": ("relu", "gelu", "gelu_tanh", "geglu", "geglu_exact", "swiglu"),
  "model.head_activation": ("", "relu", "gelu", "gelu_tanh"),
  "model.norm": ("layernorm", "rmsnorm"),
  "model.norm_placement": ("pre", "post", "output"),
  "model.positions": ("none", "learned", "sinusoidal", "rotary", "relative", "alibi", "transformer_xl"),
  "model.dtype": ("float32", "bfloat16", "float16"),
  "model.remat": ("none", "dots", "full"),
  "model.attention": ("auto", "plain", "fused"),
  "model.cache_format": ("float", "int8"),
  "model.quantize_weights": ("none", "int8", "int4"),
  "model.quantize_activations": ("none", "int8", "int4"),
  "optimizer.moment_dtype": ("float32", "bfloat16"),
  "optimizer.param_dtype": ("float32", "bfloat16"),
  "optimizer.schedule": ("linear", "cosine", "constant", *STABLE),
  "layout": ("ddp", "zero1", "zero2", "zero3"),
}
OWN_MODULES = ("block", "attention_module", "feed_forward_module")
REFERENCE = "package.module:name or path/to/file.py:name"
TOKENIZERS = ("bytes", "bpe", "unigram")  # other values are the folder or file of a tokenizer
# Fields that a recurrent model uses. The sizes of heads are in the list although it ignores them, so that one sweep can
# be run with either kind of model.
_RECURRENT_FIELDS = (
  "family vocab width depth heads head_width context norm norm_epsilon norm_bias final_norm embedding_scale "
  "logits_scale logits_soft_cap tied head_transform head_activation head_bias dropout initializer_scale dtype scan "
  "remat loss_chunk residual carry quantize_weights quantize_activations quantize_group"
)


def check_run(run: Run, horizon: bool = True) -> None:
  """Checks every size and choice of a run.

  Args:
    run: the run, or the base of a sweep.
    horizon: whether the run says how long it trains; a sweep's base does not.

  Raises:
    UserError: with one sentence, at the first mistake.
  """
  for path, choices in CHOICES.items():
    value = _get(run, path)
    if value not in choices and not (path in FIELDS and user_code.is_reference(value)):
      own = f", or your own as {REFERENCE}" if path in FIELDS else ""
      raise UserError(f"{path} is {value!r}; it must be one of {', '.join(choices)}{own}")
  check_ranges(run, field_ranges.RUN)
  mixture.check_mixture(run.data)
  _check_tokenizer(run.data.tokenizer)
  _check_own_code(run)
  _check_optimizer(run.optimizer)
  if run.model.recurrent:
    _check_recurrent(run.model)
  else:
    _check_model(run.model)
  _check_quantized_training(run.model)
  _check_stream(run)
  _check_batch(run.data, run.optimizer)
  _check_mesh(run)
  _check_trunk(run)
  parse_profile(run.profile)
  _check_start(run)
  if horizon:
    _check_horizon(run)


def require_one_device(run: Run) -> None:
  """Refuses a mesh where an experiment trains on one device.

  Raises:
    UserError: if the run has a mesh.
  """
  if run.mesh:
    raise UserError(f"mesh is {run.mesh!r}, but this experiment uses one device; leave mesh empty")


def check_ranges(config: object, ranges: dict[str, field_ranges.Range], prefix: str = "") -> None:
  """Checks numeric fields against a table.

  Args:
    config: the config.
    ranges: the range of each field, by its path.
    prefix: text before each path in errors.

  Raises:
    UserError: with one sentence, at the first value out of its range.
  """
  for path, allowed in ranges.items():
    if not allowed.holds(_get(config, path)):
      raise UserError(
        f"{prefix}{path} is {_get(config, path)}; it must be {allowed.says(_get(config, path))}"
      )


def _get(run: Any, path: str) -> Any:
  value: Any = run
  for name in path.split("."):
    value = getattr(value, name)
  return value


def _check_tokenizer(tokenizer: str) -> None:
  if tokenizer in TOKENIZERS or user_code.is_reference(tokenizer):
    return
  # os.path.exists is false for names that no file can have, where Path.exists raises.
  if not os.path.exists(tokenizer):  # noqa: PTH110
    raise UserError(
      f"data.tokenizer is {tokenizer!r}; it must be one of {', '.join(TOKENIZERS)}, the folder or tokenizer.json of a "
      "tokenizer, or a class of your own as path/to/file.py:name"
    )


def _check_optimizer(optimizer: Optimizer) -> None:
  if optimizer.name not in OPTIMIZER_NAMES and not user_code.is_reference(optimizer.name):
    raise UserError(
      f"optimizer.name is {optimizer.name!r}; it must be one of {', '.join(OPTIMIZER_NAMES)}, or a function as "
      "package.module:name or path/to/file.py:name"
    )
  if optimizer.options and optimizer.name in OPTIMIZER_NAMES:
    raise UserError(
      f"optimizer.options is {optimizer.options!r}, but {optimizer.name} takes its settings from the other fields of "
      "optimizer; leave it empty"
    )
  parameter_patterns.check_patterns(optimizer.frozen, optimizer.rate_multipliers)


def _check_own_code(run: Run) -> None:
  """Checks the form of references in fields that have no choices, and that none of the user's code goes unused."""
  model, data = run.model, run.data
  modules = {f"model.{name}": getattr(model, name) for name in OWN_MODULES if getattr(model, name)}
  functions = [
    (f"{name}[{index}]", text)
    for name in ("callbacks", "metrics")
    for index, text in enumerate(getattr(run, name))
  ]
  corpora = [
    (path, text) for path, text in user_sources.corpus_names(data).items() if text.startswith(CORPUS)
  ]
  for path, text in (*modules.items(), *functions, *corpora):
    if not user_code.is_reference(text.removeprefix(CORPUS) if path.startswith("data.") else text):
      raise UserError(f"{path} is {text!r}; name a function or class as {REFERENCE}")
  own_family = user_code.is_reference(model.family)
  unused = (
    [*modules, *(f"model.{name}" for name in ("activation", "positions") if ":" in getattr(model, name))]
    if own_family
    else [path for path in modules if path != "model.block"]
    if model.block
    else []
  )
  if unused:
    by = "model.family" if own_family else "model.block"
    raise UserError(
      f"{unused[0]} is {_get(run, unused[0])!r}, which {by} {_get(run, by)} replaces; leave it out"
    )
  if model.block and model.family == "encoder_decoder":
    raise UserError(
      "model.block replaces blocks of encoders and decoders; give an encoder_decoder model.attention_module or "
      "model.feed_forward_module"
    )
  if model.attention == "fused" and (model.block or model.attention_module or ":" in model.positions):
    raise UserError(
      "model.attention is fused, but no kernel computes attention or positions of your own; set it to auto"
    )


def _check_model(model: Model) -> None:
  if ":" in model.family:
    return  # which of these sizes it reads is its own matter
  if not model.heads and model.width % model.head_width:
    raise UserError(
      f"model.width {model.width} is not a multiple of model.head_width {model.head_width}; "
      "change one of them, or set model.heads"
    )
  if model.decoder_heads and model.attention_width % model.decoder_heads:
    raise UserError(
      f"model.decoder_heads {model.decoder_heads} does not divide {model.attention_width} (heads times head_width)"
    )
  if model.n_heads % model.n_key_value_heads:
    raise UserError(
      f"the {model.n_heads} heads are not a multiple of model.key_value_heads {model.key_value_heads}"
    )
  _check_rotary(model)
  _check_layers(model)
  if model.parallel and (model.norm_placement == "post" or model.family == "encoder_decoder"):
    raise UserError(
      "model.parallel adds two branches of one input; it needs model.norm_placement pre or output, and no "
      "encoder_decoder"
    )
  if model.qk_norm_joint and not model.qk_norm:
    raise UserError("model.qk_norm_joint says how queries and keys are normed; set model.qk_norm too")


def _check_layers(model: Model) -> None:
  """Checks what differs between layers."""
  if model.window and model.family == "encoder_decoder":
    raise UserError("model.window is for decoders and encoders, not an encoder_decoder; set it to 0")
  if model.global_every and (model.family != "encoder" or not model.window):
    raise UserError("model.global_every is for an encoder with model.window; set that too, or leave it at 0")
  if model.window_rotary_base and not (model.global_every and model.positions == "rotary"):
    raise UserError(
      "model.window_rotary_base needs model.global_every and model.positions rotary; set them too"
    )
  if not model.first_norm and (model.norm_placement != "pre" or model.parallel):
    raise UserError("model.first_norm=False needs model.norm_placement pre, and no model.parallel")


def _check_rotary(model: Model) -> None:
  if model.positions != "rotary":
    return
  if model.turned_width % 2:
    name = "rotary_width" if model.rotary_width else "head_width"
    raise UserError(f"model.{name} is {model.turned_width}; it must be even for model.positions rotary")
  if model.rotary_width > model.head_width:
    raise UserError(
      f"model.rotary_width {model.rotary_width} is more than model.head_width {model.head_width}"
    )
  if model.rotary_context and model.rotary_high <= model.rotary_low:
    raise UserError(
      f"model.rotary_high {model.rotary_high:g} must be more than model.rotary_low {model.rotary_low:g}"
    )


def _check_recurrent(model: Model) -> None:
  """Refuses settings that a recurrent model would silently ignore."""
  others = {
    field.name: field.default
    for field in dataclasses.fields(Model)
    if field.name not in _RECURRENT_FIELDS.split()
  }
  for name, default in others.items():
    value = getattr(model, name)
    if value != default and (name, value) != ("positions", "none"):
      raise UserError(
        f"model.{name} is {value!r}, but model.family {model.family} does not use it; leave it at its default "
        f"{default!r}"
      )
  normed = model.residual or model.head_transform
  if not normed and (model.norm, model.norm_bias, model.final_norm) != ("layernorm", False, True):
    raise UserError(
      f"a {model.family} has norms only with model.residual; set it too, or leave model.norm, norm_bias and final_norm "
      "at their defaults"
    )


def _check_quantized_training(model: Model) -> None:
  rounds = (model.quantize_weights, model.quantize_activations) != ("none", "none")
  if rounds and (":" in model.family or model.block):
    name = "family" if ":" in model.family else "block"
    raise UserError(
      f"model.quantize_weights and quantize_activations round products of gen's own layers, which model.{name} "
      f"{getattr(model, name)} replaces; set them to none"
    )
  if model.quantize_group and model.quantize_weights == "none":
    raise UserError(
      f"model.quantize_group is {model.quantize_group}, but no weights are rounded; set model.quantize_weights too"
    )
  inputs = {"model.width": model.width}
  if not model.recurrent:
    inputs |= {"heads times model.head_width": model.attention_width}
    inputs |= {"the feed-forward width": model.feed_forward_width}
    inputs |= {"model.decoder_feed_forward": model.decoder_feed_forward}
  for name, size in inputs.items():
    if model.quantize_group and size % model.quantize_group:
      raise UserError(
        f"model.quantize_group {model.quantize_group} does not divide {name}, which is {size}; choose a divisor"
      )


def _check_stream(run: Run) -> None:
  model, data = run.model, run.data
  if not model.recurrent and (model.carry or model.residual):
    name = "carry" if model.carry else "residual"
    raise UserError(
      f"model.{name} is only for recurrent families ({', '.join(RECURRENT)}), not for model.family {model.family}"
    )
  if model.carry and not data.stream:
    raise UserError("model.carry needs rows that continue the rows before them; set data.stream too")
  if data.stream and data.objective != "causal":
    raise UserError(
      f"data.stream is only for data.objective causal, not {data.objective}; change one of them"
    )
  if model.carry and run.optimizer.microbatches > 1:
    raise UserError(
      f"model.carry has one state for each row of a batch; set optimizer.microbatches to 1, not "
      f"{run.optimizer.microbatches}"
    )


def _check_batch(data: Data, optimizer: Optimizer) -> None:
  if data.batch % optimizer.microbatches:
    raise UserError(
      f"data.batch {data.batch} is not divisible by optimizer.microbatches {optimizer.microbatches}"
    )


def _check_mesh(run: Run) -> None:
  sizes = mesh_shape(run.mesh)
  if run.layout != "ddp" and "data" not in sizes:
    raise UserError(
      f"layout {run.layout} splits over the axis data, but mesh {run.mesh!r} does not have it; set mesh to data=N too"
    )
  parts = sizes.get("data", 1) * sizes.get("fsdp", 1)
  rows = run.data.batch // run.optimizer.microbatches
  if rows % parts:
    name = "data.batch" if run.optimizer.microbatches == 1 else "data.batch / optimizer.microbatches"
    raise UserError(
      f"{name} is {rows} rows, which mesh {run.mesh!r} cannot divide among {parts} parts (data x fsdp); set it to a "
      f"multiple of {parts}"
    )
  _check_split(run, sizes)


def _check_split(run: Run, sizes: dict[str, int]) -> None:
  """Refuses a mesh whose axes do not divide the sizes that they split."""
  model, tensor = run.model, sizes.get("tensor", 1)
  stored = sizes.get("fsdp", 1) * (sizes.get("data", 1) if run.layout == "zero3" else 1)
  storage_axes = "data x fsdp" if run.layout == "zero3" else "fsdp"
  split = [("model.width", model.width, stored, storage_axes)]
  if not model.recurrent and ":" not in model.family:
    split += [
      ("the number of heads", model.n_heads, tensor, "tensor"),
      ("the feed-forward width", model.feed_forward_width, tensor, "tensor"),
    ]
  if model.family == "encoder_decoder":
    split += [
      ("model.decoder_heads", model.decoder_heads or model.n_heads, tensor, "tensor"),
      ("model.decoder_feed_forward", model.decoder_feed_forward or tensor, tensor, "tensor"),
    ]
  for name, size, parts, axes in split:
    if size % parts:
      raise UserError(
        f"{name} is {size}, which mesh {run.mesh!r} cannot divide among {parts} devices ({axes}); set it to a multiple "
        f"of {parts}, or choose another mesh"
      )


def _check_trunk(run: Run) -> None:
  if not run.trunk:
    return
  schedule = run.data.mixture_schedule
  if schedule and schedule[0][0] < 1 - run.optimizer.decay:
    raise UserError(
      f"data.mixture_schedule changes the weights at {schedule[0][0]:g} of the run, before its decay begins at"
      f" {1 - run.optimizer.decay:g}, so runs of several lengths share no trunk; begin later, or leave trunks out"
    )
  if run.trunk in (".", "..") or "/" in run.trunk:
    raise UserError(
      f"trunk is {run.trunk!r}; it must be the name of a folder beside the run's own, without a path"
    )
  if run.optimizer.schedule not in STABLE:
    raise UserError(
      f"trunk {run.trunk!r} needs a schedule with a constant rate before the decay, but optimizer.schedule is "
      f"{run.optimizer.schedule}; set it to {' or '.join(STABLE)}, or leave trunk empty"
    )


def _check_start(run: Run) -> None:
  for name in ("start_opt_state", "start_partial"):
    if getattr(run, name) and not run.start_from:
      raise UserError(f"{name} says what to take from start_from, which is empty; set that too")
  if run.start_from and run.trunk:
    raise UserError(
      f"a run that branches off trunk {run.trunk!r} starts there; leave start_from or trunk empty"
    )


def _check_horizon(run: Run) -> None:
  lengths = {name: getattr(run, name) for name in ("steps", "tokens", "flops") if getattr(run, name)}
  if len(lengths) != 1:
    listed = " and ".join(f"{name}={value:g}" for name, value in lengths.items()) or "none of them"
    raise UserError(
      f"set exactly one of steps, tokens and flops to the run's length, and the others to 0; set now: {listed}"
    )
