"""Layers. Source: `tf.layers`."""
