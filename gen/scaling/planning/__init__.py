"""From a law and a budget to the next model."""
