"""Summaries for TensorBoard. The names of `tf.summary`."""

from conv3d.summary.messages import Event, HistogramProto, Summary

__all__ = [
    "Event",
    "FileWriter",
    "FileWriterCache",
    "HistogramProto",
    "Summary",
    "histogram",
    "image",
    "merge",
    "merge_all",
    "scalar",
    "summary_iterator",
]

# After the messages, which the ops need.
from conv3d.summary.functions import histogram, image, merge, merge_all, scalar
from conv3d.summary.writer import FileWriter, FileWriterCache, summary_iterator
