"""What a run costs in memory, communication and time, before it runs and as compiled."""
