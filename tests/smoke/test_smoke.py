"""Is the installed package whole? `python test_smoke.py`, from anywhere, with NumPy; or pytest.

The one test file that a wheel is tried with on a bare machine.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import numpy as np

import conv3d as tf


def test_version_is_that_of_the_metadata() -> None:
    assert tf.__version__ == importlib.metadata.version("conv3d")


def test_numpy_face_computes() -> None:
    from conv3d import engine

    rng = np.random.default_rng(0)
    volume = rng.integers(-4, 5, (2, 5, 6, 7, 3)).astype(np.float32)
    kernel = rng.integers(-4, 5, (3, 3, 3, 3, 4)).astype(np.float32)
    result = engine.forward(volume, kernel, padding="valid", accuracy="strict")
    windows = np.lib.stride_tricks.sliding_window_view(volume, (3, 3, 3), axis=(1, 2, 3))
    np.testing.assert_array_equal(result, np.einsum("ndhwcijk,ijkco->ndhwo", windows, kernel))


def test_layer_trains_in_a_session() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        image = tf.placeholder(tf.float32, [None, 4, 4, 4, 1])
        loss = tf.reduce_mean(tf.square(tf.layers.conv3d(image, 2, 3, padding="same") - 1.0))
        step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(tf.global_variables_initializer())
        feed = {image: np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 4, 4, 4, 1)}
        first = session.run(loss, feed)
        for _ in range(20):
            session.run(step, feed)
        assert session.run(loss, feed) < first


def test_cpp_headers_and_library_are_in_the_wheel() -> None:
    header = os.path.join(tf.get_include(), "conv3d", "conv3d.h")
    assert os.path.isfile(header), header
    assert os.path.isfile(os.path.join(tf.get_cmake_dir(), "conv3dConfig.cmake"))


def test_command_line_says_what_it_runs_on() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conv3d", "info"], capture_output=True, text=True, check=True
    )
    assert tf.__version__ in done.stdout


if __name__ == "__main__":
    tests = [function for name, function in sorted(globals().items()) if name.startswith("test_")]
    for function in tests:
        function()
        print(f"ok {function.__name__}")
