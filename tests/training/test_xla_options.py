import dataclasses

import pytest

from gen.config import Model
from gen.io import compiler_options
from gen.training import xla_options

RELU = Model(family="encoder_decoder", activation="relu")


def test_steps_ask_a_cpu_for_relu_inside_its_product_where_that_can_be_had(monkeypatch):
  monkeypatch.setattr(compiler_options, "are_supported", lambda **options: True)
  assert "DOT" in xla_options.step_options(RELU, "cpu")["xla_cpu_experimental_ynn_fusion_type"]
  monkeypatch.setattr(compiler_options, "are_supported", lambda **options: False)
  assert xla_options.step_options(RELU, "cpu") == {}


@pytest.mark.parametrize("platform", ["tpu", "gpu", "cuda"])
def test_accelerators_are_asked_for_nothing(platform):
  assert xla_options.step_options(RELU, platform) == xla_options.options_once(platform) == {}


@pytest.mark.parametrize("fields", [{"activation": "gelu"}, {"family": "lstm"}])
def test_other_activations_and_recurrent_models_are_compiled_as_ever(fields):
  assert xla_options.step_options(dataclasses.replace(RELU, **fields), "cpu") == {}
