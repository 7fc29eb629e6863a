"""From counts of parameters and FLOPs to compute-optimal laws with honest intervals."""

from gen import counts

__all__ = ["counts"]
