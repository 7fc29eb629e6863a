"""Finds a model shape for a number of parameters: the nearest named one of a family or study, and one scaled to fit.

N parameters in a named convention; D width, L depth, K head width, F feed-forward width.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping

from gen import counts, presets
from gen.config import Model
from gen.errors import UserError
from gen.scaling.planning import published_models
from gen.scaling.planning.plan_records import ProposedShape
from gen.scaling.runs import conventions

# Of a model that is worth training; chosen: below the smallest models of published sweeps.
_MIN_WIDTH, _MIN_DEPTH = 24, 2
# Share of N that the output head may have; chosen: beyond it most of N is a table, and laws are of blocks.
_MAX_HEAD = 0.5
# Factor in N within which a named model is near; chosen: about the step between models of a family.
_NEAR = 1.5
# What a factor e in width over depth away from the template's counts, against one in N; chosen: the size matters more
# than the shape (arXiv:2001.08361, section 3.1).
_SLENDER = 0.15


@dataclasses.dataclass(frozen=True)
class NamedShape:
  """A shape, and the nearest named model.

  Attributes:
    preset: the named model nearest to N, in ln N.
    preset_params: its N.
    model: the family's shape scaled to N: the preset's head width and ratios of width to depth and feed-forward.
    params: its N.
    counting: convention of both N.
    of: what names the models: presets, or the study.
    named: the model nearest to N in ln N, its N, and what names it: published models, presets, or the study.
  """

  preset: str
  preset_params: int
  model: Model
  params: int
  counting: str
  of: str = "presets"
  named: tuple[str, float, str] = ("", 0.0, "")

  @property
  def head_share(self) -> float:
    """Share of the output head in N."""
    return self.model.vocab * self.model.width / self.params

  @property
  def fault(self) -> str:
    """Reason against training this shape, or "" for a sound shape."""
    if self.head_share > _MAX_HEAD and self.counting not in ("no_head", "non_embedding"):
      return (
        f"a vocabulary of {self.model.vocab:,} would take {100 * self.head_share:.0f} % of N as the output head "
        "alone; give your own with --vocab"
      )
    small = self.model.width < _MIN_WIDTH or self.model.depth < _MIN_DEPTH
    if self.of == "presets" and small:
      return f"width {self.model.width} and depth {self.model.depth} are too small to train"
    return ""

  def proposal(self) -> ProposedShape:
    """Returns the shape as a plan proposes it."""
    model = self.model
    return ProposedShape(
      preset=self.preset,
      preset_params=self.preset_params,
      of=self.of,
      named=self.named[0],
      named_params=self.named[1],
      named_in=self.named[2],
      near=1 / _NEAR <= self.named[1] / self.params <= _NEAR,
      fault=self.fault,
      counting=self.counting,
      params=self.params,
      params_total=counts.count_parameters(model).total,
      family=model.family,
      width=model.width,
      depth=model.depth,
      heads=model.n_heads,
      head_width=model.head_width,
      feed_forward_width=model.feed_forward_width,
      vocab=model.vocab,
    )


def preset_families() -> list[str]:
  """Returns the families of presets: the first words of names that at least two presets share."""
  families: dict[str, int] = {}
  for name in presets.preset_names():
    families[_family(name)] = families.get(_family(name), 0) + 1
  return [name for name, count in families.items() if count > 1]


def nearest_shape(
  params: float,
  family: str = "chinchilla",
  counting: str = "matrices",
  vocab: int | None = None,
  study: Mapping[str, Model] | None = None,
) -> NamedShape:
  """Returns the shape of a family nearest to N parameters.

  Args:
    params: N.
    family: first word of the presets' names, such as chinchilla, gpt2, t5.
    counting: convention of N.
    vocab: vocabulary of the model; by default the template's.
    study: models of a study's runs by name, used as templates in place of a family's.

  Raises:
    UserError: for an unknown family, with the nearest one.

  >>> nearest_shape(40e9, "chinchilla", "all").preset
  'chinchilla-70b'
  """
  if not (math.isfinite(params) and params > 0):
    raise UserError(f"no shape has {params:g} parameters")
  named = dict(
    study or {name: presets.get_model(name) for name in presets.preset_names() if _family(name) == family}
  )
  if not study and len(named) < 2:
    raise UserError(
      f"there is no family {family!r} of presets; the nearest is "
      f"{difflib.get_close_matches(family, preset_families(), 1, 0.0)[0]!r}"
    )
  if vocab is not None:
    if vocab < 1:
      raise UserError(f"--vocab={vocab}: a vocabulary has at least one token")
    named = {name: dataclasses.replace(model, vocab=vocab) for name, model in named.items()}
  sizes = {name: conventions.count_parameters(model, counting) for name, model in named.items()}
  best = min(sizes, key=lambda name: abs(math.log(sizes[name] / params)))
  model = _scaled(named[best], params, counting)
  return NamedShape(
    best,
    sizes[best],
    model,
    conventions.count_parameters(model, counting),
    counting,
    "the study" if study else "presets",
    (best, float(sizes[best]), "the study") if study else _nearest_model(params, counting),
  )


def _nearest_model(params: float, counting: str) -> tuple[str, float, str]:
  """Returns the published model or preset nearest to N in ln N, its N, and which of them it is.

  Presets are counted in the convention. What a paper gives counts all parameters, which is close enough to compare.
  """
  models = [
    (name, float(conventions.count_parameters(presets.get_model(name), counting)), "presets")
    for name in presets.preset_names()
  ]
  models += [
    (model.name, float(model.params), "published models") for model in published_models.MODELS.values()
  ]
  return min(models, key=lambda model: abs(math.log(model[1] / params)))


def _family(name: str) -> str:
  # T5 1.1 has gated feed-forward layers, so its shapes do not scale those of T5.
  return name.split("-")[0] if not name.startswith("t5-v1.1") else "t5-v1.1"


def _scaled(template: Model, params: float, counting: str) -> Model:
  """Returns the template with the heads and layers that come nearest to N at about its ratio of width to depth."""
  slender = template.width / template.depth
  # At a fixed ratio of width to depth, matrices hold a multiple of width^2 depth, so N grows as the cube of the width.
  grown = (params / conventions.count_parameters(template, counting)) ** (1 / 3)
  around = template.width * grown
  head_width = template.head_width
  # Four heads at least: one head as wide as a small model would be no multi-head attention.
  while head_width > 16 and around < 4 * head_width:
    head_width //= 2
  best, cost = template, math.inf
  for heads in _heads(around / head_width):
    for depth in _depths(template, heads, head_width, params, counting):
      model = _resized(template, heads * head_width, depth, head_width)
      off = abs(math.log(conventions.count_parameters(model, counting) / params))
      off += _SLENDER * abs(math.log(model.width / depth / slender))
      if off < cost:
        best, cost = model, off
  return best


def _heads(around: float) -> list[int]:
  """Returns candidate numbers of heads, somewhat beyond the expected one: all for a small model, some for a large."""
  # 1.6 times the width at the template's slenderness: shapes beyond it would be flatter than any of the family.
  highest, middle = 1.6 * around + 2, round(around)
  # Geometric, 121 at most: neighbors differ by a few percent in width, as finely as N has to be met.
  candidates = {round(highest ** (i / 120)) for i in range(121)} | set(range(middle - 8, middle + 9))
  return sorted(heads for heads in candidates if 1 <= heads <= highest)


def _depths(template: Model, heads: int, head_width: int, params: float, counting: str) -> set[int]:
  """Returns the two depths between which N lies, and the depth at the template's ratio of width to depth."""
  width = heads * head_width
  first, two = (
    conventions.count_parameters(_resized(template, width, depth, head_width), counting) for depth in (1, 2)
  )
  # N is linear in the depth, so two counts give the depth at which it is N.
  ideal = 1 + (params - first) / (two - first)
  slim = width * template.depth / template.width
  # A third around the template's ratio: at a coarse grid of heads the exact depth may be far from any trained shape.
  low, high = 0.75 * slim, 1.33 * slim
  return {max(1, round(min(max(depth, low), high))) for depth in (math.floor(ideal), math.ceil(ideal), slim)}


def _resized(template: Model, width: int, depth: int, head_width: int) -> Model:
  ratio = template.feed_forward_width / template.width
  heads = max(1, round(template.attention_width / template.width * width / head_width))
  groups = template.n_heads // template.n_key_value_heads
  return dataclasses.replace(
    template,
    width=width,
    depth=depth,
    heads=heads,
    head_width=head_width,
    key_value_heads=max(1, heads // groups) if template.key_value_heads and heads % groups == 0 else 0,
    feed_forward=max(8, 8 * round(ratio * width / 8)),
  )
