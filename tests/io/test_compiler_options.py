"""Options that a release of XLA lacks are known before a program asks for them."""

from gen.io import compiler_options


def test_an_option_that_xla_does_not_have_is_not_understood():
  assert compiler_options.are_supported(xla_cpu_experimental_ynn_fusion_type="")
  assert not compiler_options.are_supported(xla_cpu_no_such_fusion_type="")
