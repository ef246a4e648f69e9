"""contrib.eager: gradients as functions, and its Saver."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d.contrib import eager as tfe
from conv3d.framework import context


@pytest.fixture(autouse=True)
def eager_mode():
    before = context.program.eager
    context.program.eager = True
    yield
    context.program.eager = before


def test_gradients_as_functions():
    assert tfe.in_eager_mode() and tfe.num_gpus() == 0
    value, (first, second) = tfe.value_and_gradients_function(lambda x, y: x * x * y)(3.0, 2.0)
    assert (value.numpy(), first.numpy(), second.numpy()) == (18, 12, 9)
    (only,) = tfe.gradients_function(lambda x, y: x * x * y, params=[1])(3.0, 2.0)
    assert only.numpy() == 9
    v = tfe.Variable(np.float32(3), name="v")
    value, pairs = tfe.implicit_value_and_gradients(lambda: v * v)()
    assert value.numpy() == 9 and pairs[0][0].numpy() == 6 and pairs[0][1] is v
    assert tfe.implicit_gradients(lambda x: v * x)(np.float32(4))[0][0].numpy() == 4
    with pytest.raises(ValueError, match="variables"):
        tfe.implicit_gradients(lambda: 1.0)()


def test_saver(tmp_path):
    v = tfe.Variable(np.float32(3), name="v")
    path = tfe.Saver([v]).save(str(tmp_path / "m"))
    v.assign(np.float32(5))
    tfe.Saver([v]).restore(path)
    assert v.numpy() == 3
