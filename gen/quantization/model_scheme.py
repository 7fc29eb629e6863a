"""How a whole model is quantized, and the words of `--scheme` for it."""

import dataclasses
import math

from gen.errors import UserError
from gen.precision import quantizing
from gen.precision.quantizing import WeightScheme

TABLE_FORMATS = ("int8", "int4", "nf4", "float32")
WORDS = (
  "symmetric | affine, tensor | channel | group[:N], absmax | percentile[:P] | mse, dynamic | static[:P], smooth[:A], "
  "round | gptq | gptq:act_order"
)


@dataclasses.dataclass(frozen=True)
class ModelScheme:
  """How a model is quantized.

  Attributes:
    weights: of the kernels of layers.
    activations: none | int8, in their products.
    static: whether the scale of activations is known from calibration; otherwise each row has its own.
    static_percentile: of magnitudes that a static scale covers; 100 covers all.
    smoothing: SmoothQuant's share of the range that moves from activations to weights (arXiv:2211.10438); 0 is none.
    method: round | gptq (arXiv:2210.17323).
    act_order: whether GPTQ takes inputs in the order of their size.
    embeddings: format of tables of embeddings: int8 | int4 | nf4 | float32.
    head: format of an output kernel of its own; a tied one is the table.
    vectors: float32 | bfloat16, of norms and biases.
    cache: float | int8, of keys and values while text is generated.
  """

  weights: WeightScheme = dataclasses.field(default_factory=WeightScheme)
  activations: str = "none"
  static: bool = False
  static_percentile: float = 100.0
  smoothing: float = 0.0
  method: str = "round"
  act_order: bool = False
  embeddings: str = "int8"
  head: str = "int8"
  vectors: str = "float32"
  cache: str = "float"

  @property
  def needs_calibration(self) -> bool:
    """Whether it depends on text."""
    return self.static or self.smoothing > 0 or self.method == "gptq"

  def table_scheme(self, format: str) -> WeightScheme:
    """Returns the scheme of tables and heads: a scale for each row, or in 4 bits for each group of it."""
    # 16 levels over a whole row lose its small weights, so a scale of 4 bits covers a group (arXiv:2305.14314 has 64).
    granularity = "channel" if format == "int8" else "group"
    return WeightScheme(
      format, granularity=granularity, clipping=self.weights.clipping, percentile=self.weights.percentile
    )


def parse_scheme(weights: str, activations: str, words: str, **others: str) -> ModelScheme:
  """Returns the scheme that flags describe.

  Args:
    weights: int8 | int4 | nf4.
    activations: none | int8.
    words: separated by commas, see `WORDS`; empty takes the defaults.
    **others: fields of `ModelScheme` with names of formats: embeddings, head, vectors, cache.

  Raises:
    UserError: for an unknown word, two words of one kind, or words that exclude each other.

  >>> parse_scheme("int4", "none", "group:32,mse").weights.group
  32
  """
  # 8 bits with a scale for each output, 4 bits with one for each group: the same choice as in `table_scheme`.
  fields: dict[str, object] = {"granularity": "channel" if weights == "int8" else "group"}
  whole: dict[str, object] = {}
  kinds: set[str] = set()
  for word in filter(None, (part.strip() for part in words.split(","))):
    name, _, value = word.partition(":")
    kind = _read_word(name, value, word, fields, whole)
    if kind in kinds:
      raise UserError(f"--scheme={words} sets {kind} twice; give one word of each kind")
    kinds.add(kind)
  scheme = ModelScheme(WeightScheme(weights, **fields), activations, **whole, **others)  # type: ignore[arg-type]
  _check(scheme, activations)
  return scheme


def _read_word(name: str, value: str, word: str, fields: dict[str, object], whole: dict[str, object]) -> str:
  """Sets the fields of a word; returns its kind."""
  if name in ("symmetric", "affine") and not value:
    fields["symmetric"] = name == "symmetric"
    return "zero points"
  if name in ("tensor", "channel") and not value:
    fields["granularity"] = name
    return "granularity"
  if name == "group":
    # 0 lets the group follow the inputs of each kernel; no kernel has 65,536 inputs in one group.
    fields |= {"granularity": name, "group": int(_number(value, word, 1, 65_536, whole=True)) if value else 0}
    return "granularity"
  if name in ("absmax", "mse") and not value:
    fields["clipping"] = name
    return "clipping"
  if name == "percentile":
    # 99.9 leaves out one weight in a thousand. Below the median a scale would clip most weights.
    fields |= {"clipping": name, "percentile": _number(value, word, 50, 100) if value else 99.9}
    return "clipping"
  if name == "dynamic" and not value:
    return "scale of activations"
  if name == "static":
    whole |= {"static": True, "static_percentile": _number(value, word, 50, 100) if value else 100.0}
    return "scale of activations"
  if name == "smooth":
    # 0.5 is the paper's balance for most models (arXiv:2211.10438, section 4); 0 would be no smoothing.
    whole["smoothing"] = _number(value, word, 0.01, 1) if value else 0.5
    return "smoothing"
  if name in ("round", "gptq") and value in ("", "act_order") and not (name == "round" and value):
    whole |= {"method": name, "act_order": value == "act_order"}
    return "method"
  raise UserError(f"--scheme: {word!r} is unknown; its words are {WORDS}")


def _number(text: str, word: str, low: float, high: float, whole: bool = False) -> float:
  try:
    number = float(text)
  except ValueError:
    number = math.nan
  if not low <= number <= high or (whole and number != int(number)):
    kind = "a whole number" if whole else "a number"
    raise UserError(f"--scheme: {word!r} needs {kind} from {low:g} to {high:g} after the colon")
  return number


def _check(scheme: ModelScheme, activations: str) -> None:
  format = scheme.weights.format
  if format not in quantizing.WEIGHT_FORMATS:
    raise UserError(f"weights {format!r} are unknown; choose one of {', '.join(quantizing.WEIGHT_FORMATS)}")
  # A zero point shifts integer levels by whole steps, and nf4's levels are not evenly spaced.
  if format == "nf4" and not scheme.weights.symmetric:
    raise UserError("nf4 has fixed levels around zero, so it has no affine scheme; take symmetric, or int4")
  if format == "nf4" and activations == "int8":
    raise UserError(
      "nf4 levels are no integers, so activations stay in floating point; take --activations=none, or int4"
    )
  # Both would be ignored silently: each only changes how activations are rounded.
  if activations == "none" and (scheme.static or scheme.smoothing):
    word = "static" if scheme.static else "smooth"
    raise UserError(f"--scheme: {word} is about int8 activations; give --activations=int8 too")
