"""One run over many devices: the mesh that they form, and which of its axes each tensor is split over."""
