"""The folder of a run: which run owns it, how long it is, and which runs it was extended from."""
