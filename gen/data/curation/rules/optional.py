"""Packages of the extra `curation`, imported where a stage needs them."""

import importlib
from types import ModuleType

from gen.errors import UserError


def import_extra(package: str, stage: str) -> ModuleType:
  """Imports a package that a stage needs.

  Raises:
    UserError: if it is not installed.
  """
  module = package.replace("-", "_")
  try:
    return importlib.import_module(module)
  except ImportError:
    raise UserError(
      f"stage {stage} needs {package}, which is not installed; run uv pip install {package} (the extra `curation`),"
      f" or leave the stage out with --config.without={stage}"
    ) from None
