"""Checks that the studies of an atlas are comparable: the same text and tokenizer, at the same budgets.

Nothing here imports jax, so a mistake is reported at once.
"""

import dataclasses

from gen.config import ATLAS_FAMILIES, Atlas, Data, Sweep
from gen.errors import UserError
from gen.scaling.sweeps import design

# What families need not share of their data; everything else is the same text in the same pieces.
_OWN_DATA = ("objective", "batch")


def check_atlas(atlas: Atlas, families: tuple[str, ...]) -> dict[str, Sweep]:
  """Returns the studies of the families, checked alone and against one another.

  Raises:
    UserError: for an unknown family, a study that cannot be, or studies that do not read the same text at the same
      budgets.
  """
  unknown = [name for name in families if name not in ATLAS_FAMILIES]
  if unknown or not families:
    raise UserError(
      f"--families={','.join(families)}: choose from {', '.join(ATLAS_FAMILIES)}, with commas between them"
    )
  chosen = {name: _shared(atlas, name) for name in ATLAS_FAMILIES if name in families}
  for name, sweep in chosen.items():
    if sweep.model.family != name:
      raise UserError(f"config.{name}.model.family is {sweep.model.family!r}; it must be {name!r}")
    design.check_sweep(sweep)
  first, *others = chosen.items()
  for name, sweep in others:
    _same(first[0], first[1], name, sweep)
  return chosen


def _shared(atlas: Atlas, name: str) -> Sweep:
  sweep = atlas.studies[name]
  return dataclasses.replace(
    sweep, name=sweep.name or name, workers=atlas.workers, bootstraps=atlas.bootstraps
  )


def _same(first_name: str, first: Sweep, other_name: str, second: Sweep) -> None:
  for field in dataclasses.fields(Data):
    values = [getattr(sweep.data, field.name) for sweep in (first, second)]
    if field.name not in _OWN_DATA and values[0] != values[1]:
      raise UserError(
        f"config.{first_name}.data.{field.name} is {values[0]!r}, config.{other_name}.data.{field.name} "
        f"{values[1]!r}; all families of an atlas read the same text, so set both to the same value"
      )
  if (first.budgets, first.held_out) != (second.budgets, second.held_out):
    raise UserError(
      f"config.{first_name} and config.{other_name} have different budgets ({first.budgets} and {second.budgets}, "
      "held out "
      f"{first.held_out:g} and {second.held_out:g}); families are compared at equal budgets, so set both to the same "
      "value"
    )
