"""Low-rank adaptation (LoRA, arXiv:2106.09685) as pure functions of parameter trees.

A matrix W [I, O] is kept, and W + s A B is used in its place. Only A [I, R] and B [R, O] are trained, and B is 0 at
first. The factor s is alpha / R, or alpha / sqrt(R) (rsLoRA, arXiv:2312.03732).

    adapters = initialize_adapters(params, lora, key)
    logits = module.apply({"params": apply_adapters(params, adapters, lora)}, ...)   # gradients flow to adapters
    merged = apply_adapters(params, adapters, lora)                                  # the parameters to export

The adapters' tree has `a` and `b` where the model's has `kernel`. Layers are stacked along a first axis in both.

I inputs of a matrix, O its outputs, R rank, L layers.
"""

import dataclasses
import fnmatch
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from gen.errors import UserError
from gen.interop.parameters import flatten_tree, unflatten_tree
from gen.precision.quantized_array import AdaptedKernel, QuantizedArray, parameter_shape

KERNEL, FIRST, SECOND = "kernel", "a", "b"
_TRAINED_WHOLE = ("head/", "pool/")  # of a model with a head for a task
_OF_HEADS = ("attention/out/kernel", "cross_attention/out/kernel")  # [H, K, D]: two axes of inputs
_STACKED = "/layers/"  # of transformers and of recurrent models


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  """Which matrices have adapters, and how large these are.

  Attributes:
    rank: R.
    alpha: numerator of the factor s.
    targets: names of matrices, or shell patterns of their paths: query, attention/out, feed_forward, */kernel, ...
    dropout: probability, in training, that an input of A is left out.
    rank_stabilized: whether s is alpha / sqrt(rank).

  Raises:
    UserError: for a value out of its range.
  """

  rank: int = 8  # 4 and 8 are nearly as good as 64 in arXiv:2106.09685, section 7.2
  # alpha / rank is 2, as is common with `peft`.
  alpha: float = 16.0
  targets: tuple[str, ...] = ("attention/query", "attention/value")  # best at equal size, section 7.1
  dropout: float = 0.0
  rank_stabilized: bool = False

  def __post_init__(self) -> None:
    """Checks the fields."""
    object.__setattr__(self, "targets", tuple(self.targets))
    if not 1 <= self.rank <= 1 << 16:
      raise UserError(f"lora.rank is {self.rank}; it must be 1 to {1 << 16}")
    if not 0 < self.alpha < math.inf:
      raise UserError(f"lora.alpha is {self.alpha}; it must be a positive number")
    if not 0 <= self.dropout < 1:
      raise UserError(f"lora.dropout is {self.dropout}; it must be at least 0 and below 1")
    if not self.targets:
      raise UserError("lora.targets is empty; name the matrices to adapt, as attention/query")

  @property
  def scale(self) -> float:
    """The factor s."""
    # With alpha / R the rate need not be tuned anew for another rank; for large R it makes updates too small (rsLoRA).
    return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)


class MatrixShape(NamedTuple):
  """The shape of a parameter as a matrix.

  Attributes:
    layers: L, or 0 for a matrix that is not of a stack.
    inputs: I.
    output_axes: the parameter's axes that are outputs, such as heads and head width; their product is O.
  """

  layers: int
  inputs: int
  output_axes: tuple[int, ...]

  @property
  def outputs(self) -> int:
    """O."""
    return math.prod(self.output_axes)

  @property
  def stack(self) -> tuple[int, ...]:
    """The first axis of its adapters, if it has one."""
    return (self.layers,) if self.layers else ()


def matrix_shape(path: str, shape: tuple[int, ...]) -> MatrixShape:
  """Returns a kernel's shape as a matrix.

  >>> matrix_shape("target/stack/layers/attention/out/kernel", (5, 2, 3, 7))
  MatrixShape(layers=5, inputs=6, output_axes=(7,))

  Args:
    path: of the parameter.
    shape: its shape.
  """
  layers = shape[0] if _STACKED in f"/{path}" else 0
  axes = shape[1:] if layers else shape
  # The projection after attention reads heads and head width, both inputs.
  split = 2 if path.endswith(_OF_HEADS) and len(axes) > 2 else 1
  return MatrixShape(layers, math.prod(axes[:split]), tuple(axes[split:]))


def find_targets(params: Any, targets: tuple[str, ...]) -> dict[str, MatrixShape]:
  """Returns the matrices that have adapters, by path.

  A target without wildcards is a name in the path, as query or attention/out. The head of a task and its pooler are
  trained as they are, and match only patterns that begin with their name.

  Raises:
    UserError: for a target that matches no matrix.
  """
  shapes = {path: parameter_shape(leaf) for path, leaf in _flatten_parameters(params).items()}
  matrices = {
    path: matrix_shape(path, shape)
    for path, shape in shapes.items()
    if path.endswith(f"/{KERNEL}") and len(shape) >= 2 + (_STACKED in f"/{path}")
  }
  found: dict[str, MatrixShape] = {}
  for target in targets:
    matched = {path: shape for path, shape in matrices.items() if _matches(path, target)}
    if not matched:
      known = sorted({"/".join(path.split("/")[-3:-1]) for path in matrices})
      raise UserError(f"lora.targets has {target!r}, which matches no matrix; there are {', '.join(known)}")
    found |= matched
  return dict(sorted(found.items()))


def _flatten_parameters(params: Any) -> dict[str, Any]:
  """Returns the parameters by path, each kernel of fewer bits as one."""
  leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=lambda leaf: isinstance(leaf, QuantizedArray))
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _matches(path: str, target: str) -> bool:
  name = target.strip("/")
  if path.startswith(_TRAINED_WHOLE) and not name.startswith(("head", "pool")):
    return False
  return fnmatch.fnmatchcase(path, name) or fnmatch.fnmatchcase(f"/{path}", f"*/{name}/*")


def initialize_adapters(params: Any, lora: LoraConfig, key: Array) -> dict[str, Any]:
  """Returns the adapters of a model, float32: A uniform in +-1 / sqrt(I), B zero, so that the model is unchanged.

  Args:
    params: of the model, or their shapes.
    lora: which matrices, and the rank.
    key: of A.

  Raises:
    UserError: for a target that matches no matrix, or a rank above a matrix's own.
  """
  flat: dict[str, Any] = {}
  for number, (path, shape) in enumerate(find_targets(params, lora.targets).items()):
    if lora.rank > min(shape.inputs, shape.outputs):
      raise UserError(
        f"lora.rank is {lora.rank}, above the {min(shape.inputs, shape.outputs)} of {path}; choose a smaller rank"
      )
    # The authors' code and peft draw A so (kaiming_uniform_ with a = sqrt(5)); the paper says Gaussian.
    bound = 1 / math.sqrt(shape.inputs)
    first = (*shape.stack, shape.inputs, lora.rank)
    folder = path.removesuffix(KERNEL)
    flat[folder + FIRST] = jax.random.uniform(
      jax.random.fold_in(key, number), first, jnp.float32, -bound, bound
    )
    flat[folder + SECOND] = jnp.zeros((*shape.stack, lora.rank, shape.outputs), jnp.float32)
  return unflatten_tree(flat)


def apply_adapters(
  params: Mapping[str, Any], adapters: Mapping[str, Any], lora: LoraConfig, key: Array | None = None
) -> dict[str, Any]:
  """Returns the parameters with W + s A B in the place of each matrix W that has adapters.

  Inside a traced function, gradients flow to the adapters through the sum. Matrices without adapters are the same
  arrays as before. Beside a matrix of fewer bits, A and B stay two factors (`AdaptedKernel`).

  Args:
    params: of the model.
    adapters: as from `initialize_adapters`.
    lora: their config.
    key: of the dropout; None leaves all inputs in. One draw serves all tokens of a step, since A is applied to
      parameters, not to tokens.
  """
  flat_adapters = flatten_tree(adapters)
  folders = sorted({path.rpartition("/")[0] for path in flat_adapters})
  changed = {}
  for number, folder in enumerate(folders):
    a_lir, b_lro = flat_adapters[f"{folder}/{FIRST}"], flat_adapters[f"{folder}/{SECOND}"]
    if key is not None and lora.dropout:
      keep_li1 = jax.random.bernoulli(
        jax.random.fold_in(key, number), 1 - lora.dropout, (*a_lir.shape[:-1], 1)
      )
      # Dropout of an input is a row of A that is zero; the others grow, so the mean stays.
      a_lir = jnp.where(keep_li1, a_lir / (1 - lora.dropout), 0)
    changed[folder] = (a_lir, b_lro)
  return _add_products(params, changed, lora.scale, "")


def _add_products(
  tree: Mapping[str, Any], changed: Mapping[str, tuple[Any, Any]], scale: float, prefix: str
) -> dict[str, Any]:
  """Returns a tree with the products of the adapters added to its kernels; raises KeyError for one that it lacks."""
  result: dict[str, Any] = {}
  for name, value in tree.items():
    path = f"{prefix}{name}"
    if isinstance(value, Mapping):
      result[name] = _add_products(value, changed, scale, f"{path}/")
    elif name == KERNEL and (folder := path.rpartition("/")[0]) in changed:
      a_lir, b_lro = changed[folder]
      if isinstance(value, QuantizedArray):
        result[name] = AdaptedKernel(value, a_lir, scale * b_lro, value.shape)
        continue
      # Float32 as the adapters are, and cast with the kernel's own type only in the sum.
      product_lio = scale * jnp.matmul(a_lir, b_lro)
      result[name] = value + product_lio.reshape(jnp.shape(value)).astype(value.dtype)
    else:
      result[name] = value
  return result
