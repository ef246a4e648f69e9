"""Graphs, tensors, shapes and the one door through which every op goes. Knows ops only by name."""
