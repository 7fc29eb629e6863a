"""Random parameters of a model, drawn by numpy: quicker than compiling an initializer, and no zeros to hide behind."""

import jax
import numpy as np
import pytest

from gen.models import language_model


def random_parameters(model, seed=0):
  """Returns float32 parameters; scales near 1, everything else small and nowhere zero."""
  rng = np.random.default_rng(seed)

  def draw(path, shape):
    centre = 1.0 if path[-1].key == "scale" else 0.0
    return (centre + 0.3 * rng.normal(size=shape.shape)).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, language_model.parameter_shapes(model))


@pytest.fixture(scope="session", name="random_parameters")
def _random_parameters():
  return random_parameters
