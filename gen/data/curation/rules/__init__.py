"""Rules for one document at a time: keep it, change it, or drop it with a reason."""
