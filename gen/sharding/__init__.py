"""One run over many devices: the mesh, the layouts (ZeRO, FSDP, tensor parallel), and the processes of a run."""
