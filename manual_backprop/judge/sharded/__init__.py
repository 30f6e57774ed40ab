"""The judge on a device mesh: one axis of an operator's sample is sharded over the ranks."""
