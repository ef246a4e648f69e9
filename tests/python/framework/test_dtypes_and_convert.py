"""Element types, and what Python values become."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d.framework import convert, dtypes, graph, session
from conv3d.framework.tensor_shape import Dimension, TensorShape
from conv3d.ops import array_ops


@pytest.fixture(autouse=True)
def own_graph():
    with graph.Graph().as_default() as g:
        yield g


def test_equal_to_names_and_numpy_types():
    assert dtypes.float32 == "float32" == dtypes.float32
    assert dtypes.float32 == np.float32 and dtypes.int64 == np.dtype("int64")
    assert dtypes.as_dtype(float) is dtypes.float32 and dtypes.as_dtype(int) is dtypes.int32
    assert dtypes.as_dtype(bool) is dtypes.bool and dtypes.as_dtype(np.dtype(">f4")) == "float32"
    assert dtypes.float32 != None and dtypes.float32 != "nonsense"  # noqa: E711
    for bad in ("nonsense", None, object(), 1234):
        with pytest.raises(TypeError):
            dtypes.as_dtype(bad)


def test_references():
    ref = dtypes.float32_ref
    assert ref.name == "float32_ref" and ref.base_dtype is dtypes.float32
    assert ref != dtypes.float32 and ref._is_ref_dtype and dtypes.float32._as_ref is ref
    assert dtypes.float32.is_compatible_with(ref) and not ref.is_compatible_with(dtypes.float32)


def test_kinds_and_limits():
    assert dtypes.float16.is_floating and dtypes.bfloat16.is_floating
    assert dtypes.uint8.is_integer and dtypes.uint8.is_unsigned and not dtypes.bool.is_integer
    assert dtypes.uint8.limits == (0, 255) and dtypes.int8.min == -128
    assert dtypes.float64.size == 8 and dtypes.bfloat16.size == 2
    assert dtypes.float32.as_datatype_enum == 1 and dtypes.float32_ref.as_datatype_enum == 101


@pytest.mark.parametrize(
    "value,dtype,shape",
    [
        (1, "int32", ()),
        (2**40, "int64", ()),
        (1.5, "float32", ()),
        ([1, 2.5], "float32", (2,)),
        (True, "bool", ()),
        ("text", "string", ()),
        ([b"a", "bc"], "string", (2,)),
        (np.float64(2), "float64", ()),
        (np.arange(3), "int64", (3,)),
        ([np.float64(1), 2.0], "float32", (2,)),
        (1 + 2j, "complex128", ()),
        ([[1], [2]], "int32", (2, 1)),
        ([], "float32", (0,)),
        (Dimension(3), "int32", ()),
        ([Dimension(3), 4], "int32", (2,)),
        (TensorShape([1, 2]), "int32", (2,)),
    ],
)
def test_default_types(value, dtype, shape):
    array = convert.to_array(value)
    assert dtypes.as_dtype(array.dtype).name == dtype and array.shape == shape


@pytest.mark.parametrize(
    "value,dtype,error",
    [
        (2.5, "int32", TypeError),
        (True, "float32", TypeError),
        ("a", "float32", TypeError),
        (None, None, ValueError),
        ([1, None], None, TypeError),
        ([1, "a"], None, TypeError),
        ([[1], [2, 3]], None, ValueError),
        (object(), None, TypeError),
        (Dimension(None), None, ValueError),
        (TensorShape([None]), None, ValueError),
        (2**40, "int32", TypeError),
    ],
)
def test_refused_values(value, dtype, error):
    with pytest.raises(error):
        convert.convert_to_tensor(value, dtype)


def test_a_tensor_of_another_type_is_refused():
    x = array_ops.placeholder(dtypes.float32, [2])
    assert convert.convert_to_tensor(x, dtypes.float32) is x
    assert convert.convert_to_tensor(x, preferred_dtype=dtypes.int32) is x
    with pytest.raises(ValueError, match="float32"):
        convert.convert_to_tensor(x, dtypes.int32)


def test_lists_with_tensors_are_packed(own_graph):
    n = array_ops.placeholder(dtypes.int32, [])
    packed = convert.convert_to_tensor([n, 3, [][:0] or 4], name="sizes")
    assert packed.op.type == "Pack" and packed.name == "sizes:0" and packed.shape == [3]
    assert session.Session(graph=own_graph).run(packed, {n: 7}).tolist() == [7, 3, 4]


def test_constants_do_not_follow_the_array(own_graph):
    a = np.ones(3, np.float32)
    c = array_ops.constant(a)
    a[:] = 5
    assert session.Session(graph=own_graph).run(c).tolist() == [1, 1, 1]


def test_constant_fills_up_to_shape():
    value = convert.constant_value
    assert value(array_ops.constant([1, 2], shape=[4])).tolist() == [1, 2, 2, 2]
    assert value(array_ops.constant(7, shape=[2, 2])).tolist() == [[7, 7], [7, 7]]
    with pytest.raises(ValueError):
        array_ops.constant([1, 2, 3], shape=[2])
    with pytest.raises(TypeError):
        array_ops.constant([1, 2], shape=[4], verify_shape=True)


def test_registered_classes_become_tensors():
    class Celsius:
        def __init__(self, degrees):
            self.degrees = degrees

    def to_tensor(value, dtype=None, name=None, as_ref=False):
        return array_ops.constant(value.degrees, dtype, name=name or "Const")

    convert.register_tensor_conversion_function(Celsius, to_tensor)
    try:
        doubled = array_ops.constant(2.0) * Celsius(21.0)
        assert doubled.op.inputs[1].name == "mul/y:0"
    finally:
        convert._conversions[:] = [c for c in convert._conversions if c[1] is not Celsius]
