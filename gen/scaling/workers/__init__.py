"""Where the runs of a sweep train: local workers, GPUs, cluster jobs, the ledger."""
