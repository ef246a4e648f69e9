"""Times 3-D convolutions side by side with other libraries: ``python -m conv3d bench``.

``workloads`` reads the table of layers, ``peers/`` holds one program per library (each runs in a
process of its own, possibly of another Python), ``process`` speaks with such a program, ``runner``
lets them take turns, ``report`` makes the tables and the plot. Nothing here is imported by the rest
of the package.
"""
