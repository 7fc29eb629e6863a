"""Where text comes from: files of every kind, archives, packages, named sets."""
