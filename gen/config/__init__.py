"""Configs of runs and sweeps: plain dataclasses, derived sizes, JSON and a hash. Nothing here imports jax."""

from gen.config.codec import from_dict, to_dict
from gen.config.data import Data
from gen.config.families import ATLAS_FAMILIES, FAMILIES, MESH_AXES, RECURRENT, STABLE, TRANSFORMERS
from gen.config.identity import config_hash, identity_fields
from gen.config.mesh import mesh_shape
from gen.config.mixture import MixtureCorpus
from gen.config.model import Model
from gen.config.optimizer import Optimizer
from gen.config.run import Run
from gen.config.sweep import Atlas, Criteria, Sweep

__all__ = [
  "ATLAS_FAMILIES",
  "FAMILIES",
  "MESH_AXES",
  "RECURRENT",
  "STABLE",
  "TRANSFORMERS",
  "Atlas",
  "Criteria",
  "Data",
  "MixtureCorpus",
  "Model",
  "Optimizer",
  "Run",
  "Sweep",
  "config_hash",
  "from_dict",
  "identity_fields",
  "mesh_shape",
  "to_dict",
]
