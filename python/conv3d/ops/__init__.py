"""The ops, one file a family: shape rule, compute and gradient side by side."""
