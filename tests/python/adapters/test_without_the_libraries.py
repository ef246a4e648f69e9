"""The adapters come with the package; their libraries only when used, else the extra is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

import conv3d

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "dask"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import conv3d
try:
    conv3d.CALL
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("call", "extra"),
    [("torch.accelerate(None)", "conv3d[torch]"), ("dask.conv3d(None, None)", "conv3d[dask]")],
)
def test_the_error_names_the_extra(call: str, extra: str) -> None:
    command = [sys.executable, "-c", HIDE.replace("CALL", call)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"pip install '{extra}'" in done.stdout


def test_the_package_has_its_adapters() -> None:
    """But `from conv3d import *` leaves the names of the libraries alone."""
    assert callable(conv3d.torch.accelerate) and callable(conv3d.dask.conv3d)
    assert not {"torch", "dask"} & set(conv3d.__all__)
