"""Transformers, the RNN that they replaced, and their compute-optimal scaling laws, in JAX.

The public API is listed in `gen.api`. Its names are imported when they are first used, so that `import gen` takes no
time; what is not listed may change.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from gen import precision, presets
  from gen.api import (
    ModelCounts,
    Plan,
    audit,
    count,
    fit,
    generate,
    load,
    plan,
    read_runs,
    train,
  )
  from gen.config import Criteria, Data, Model, Optimizer, Run, Sweep
  from gen.errors import UserError
  from gen.finetuning.api import finetune, predict

__version__ = "0.1.0"

_MODULES = {
  "gen.api": (
    "ModelCounts",
    "Plan",
    "audit",
    "count",
    "fit",
    "generate",
    "load",
    "plan",
    "read_runs",
    "train",
  ),
  "gen.finetuning.api": ("finetune", "predict"),
  "gen.config": ("Criteria", "Data", "Model", "Optimizer", "Run", "Sweep"),
  "gen.errors": ("UserError",),
  "gen.precision": ("precision",),
  "gen.presets": ("presets",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
  "Criteria",
  "Data",
  "Model",
  "ModelCounts",
  "Optimizer",
  "Plan",
  "Run",
  "Sweep",
  "UserError",
  "audit",
  "count",
  "finetune",
  "fit",
  "generate",
  "load",
  "plan",
  "precision",
  "predict",
  "presets",
  "read_runs",
  "train",
]


def __getattr__(name: str) -> Any:
  """Imports a name of the public API when it is first used."""
  import importlib

  if name not in _MODULE_OF:
    raise AttributeError(f"module 'gen' has no attribute {name!r}; its public names are {', '.join(__all__)}")
  module = importlib.import_module(_MODULE_OF[name])
  value = module if name in ("precision", "presets") else getattr(module, name)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  return [*__all__, "__version__"]
