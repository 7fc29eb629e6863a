"""From a loss to a finished run: losses, optimizer, step, checkpoints, journal, loop."""
