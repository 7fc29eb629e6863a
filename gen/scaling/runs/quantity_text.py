"""Counts of parameters and tokens as people write them."""


def format_count(value: float) -> str:
  """Returns a number of parameters or tokens for people.

  >>> format_count(4.036e10), format_count(2.4e12), format_count(512.0)
  ('40.4 B', '2.4 T', '512')
  """
  for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
    # 999.5 and more would be written 1e+03 by three digits.
    if value >= 0.9995 * size:
      return f"{value / size:.4g} {letter}" if value >= 1e4 * size else f"{value / size:.3g} {letter}"
  return f"{value:.3g}"
