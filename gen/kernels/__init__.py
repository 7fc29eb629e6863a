"""Fast implementations of what `gen.models` defines: matrix products, attention, norms, losses, their gradients."""
