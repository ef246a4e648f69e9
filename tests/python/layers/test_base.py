"""`Layer`: user subclasses, variables, losses, updates, specs, graphs, copies, eager mode."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d.layers.base import snake_case


def names(values: Any) -> list[str]:
    return [v.name for v in values]


class Scale(tf.layers.Layer):
    """Multiplies by a vector of ones."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_variable(
            "w",
            [int(input_shape[-1])],
            initializer=tf.ones_initializer(),
            regularizer=lambda v: tf.reduce_sum(v),
        )
        super().build(input_shape)

    def call(self, inputs: Any, factor: float = 1.0) -> Any:
        return inputs * self.w * factor


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Conv3D", "conv3d"),
        ("Conv3DTranspose", "conv3d_transpose"),
        ("MaxPooling3D", "max_pooling3d"),
        ("MyConv3DThing", "my_conv3d_thing"),
        ("_Hidden", "private__hidden"),
        ("ABCThing", "abc_thing"),
    ],
)
def test_names_from_classes(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_the_base_class_passes_its_input_through() -> None:
    layer = tf.layers.Layer(name="my")
    x = tf.constant(1.0)
    assert layer(x) is x
    assert (layer.built, layer.name, layer.scope_name, layer.weights) == (True, "my", "my", [])


def test_a_subclass() -> None:
    layer, other = Scale(), Scale(name="n")
    x = tf.constant(np.ones((2, 3), "float32"))
    results = [layer(x), other(x), layer(x, factor=3.0)]
    assert names(results) == ["scale/mul_1:0", "n/mul_1:0", "scale/mul_3:0"]
    assert layer.name == "scale_1" and names(layer.weights) == ["scale/w:0"]
    assert layer.count_params() == 3
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(results[2]).tolist() == [[3.0] * 3] * 2


def test_nested_inputs_and_outputs() -> None:
    class Both(tf.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return {"sum": inputs["a"] + inputs["b"], "parts": [inputs["a"], inputs["b"]]}

    layer = Both()
    a, b = tf.constant([1.0]), tf.constant([2.0, 3.0])
    out = layer({"a": a, "b": b})
    assert out["sum"].name == "both/add:0"
    assert layer.input == {"a": a, "b": b}
    assert layer.input_shape == {"a": (1,), "b": (2,)}


def test_call_may_take_a_scope() -> None:
    class Inner(tf.layers.Layer):
        def call(self, inputs: Any, scope: Any = None) -> Any:
            assert isinstance(scope, tf.VariableScope)
            return tf.identity(inputs, name=scope.name)

    assert Inner(name="a")(tf.constant(1.0)).name == "a/a:0"
    assert Inner(name="b")(tf.constant(1.0), scope="c").name == "c/c:0"


def test_layers_inside_of_layers() -> None:
    class Outer(tf.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="outer")
            self.inner = tf.layers.Conv3D(2, 1, name="inner")

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs)

    layer = Outer()
    assert layer(tf.zeros([1, 2, 2, 2, 1])).name == "outer/inner/BiasAdd:0"
    assert names(layer.inner.weights) == ["outer/inner/kernel:0", "outer/inner/bias:0"]


# --- variables --------------------------------------------------------------------------


def test_add_variable() -> None:
    layer = tf.layers.Layer(name="my")
    v = layer.add_variable("v", [2, 2], initializer=tf.zeros_initializer())
    w = layer.add_variable("w", [2], trainable=False)
    r = layer.add_weight("r", shape=[2], regularizer=lambda x: tf.reduce_sum(x))
    assert layer.trainable_variables == [v, r] and layer.non_trainable_variables == [w]
    assert layer.variables == [v, r, w]
    assert tf.trainable_variables() == [v, r]
    assert names(layer.losses) == ["my/r/Regularizer/Sum:0"]
    with pytest.raises(ValueError):
        layer.add_variable("v", [2, 2])


def test_synchronised_on_read() -> None:
    layer = tf.layers.Layer()
    on_read = tf.VariableSynchronization.ON_READ
    v = layer.add_variable("v", [2], synchronization=on_read)
    assert layer.non_trainable_variables == [v]
    with pytest.raises(ValueError):
        layer.add_variable("w", [2], trainable=True, synchronization=on_read)


def test_a_built_layer_makes_no_variables() -> None:
    layer = Scale(name="s")
    layer(tf.ones([1, 3]))
    assert layer.add_variable("w", [3]) is layer.w and layer.weights == [layer.w]
    assert len(layer.losses) == 1
    with pytest.raises(ValueError):
        layer.add_variable("new", [3])
    with pytest.raises(ValueError):
        layer.add_variable("w", [4])


def test_frozen_layers() -> None:
    layer = tf.layers.Layer(trainable=False)
    a = layer.add_variable("a", [1], trainable=True)
    b = layer.add_variable("b", [1], trainable=False)
    assert (layer.trainable_weights, layer.non_trainable_weights) == ([], [a, b])
    assert tf.trainable_variables() == []
    layer.trainable = True
    assert (layer.trainable_weights, layer.non_trainable_weights) == ([a], [b])


def test_count_params_needs_a_built_layer() -> None:
    with pytest.raises(ValueError):
        tf.layers.Layer().count_params()


# --- losses and updates -----------------------------------------------------------------


def test_losses_by_reachability() -> None:
    x = tf.placeholder(tf.float32, [1, 3])
    v = tf.get_variable("v", [])
    layer = Scale(activity_regularizer=lambda y: tf.reduce_mean(y))
    y = layer(x)
    free = v * 2.0
    late = tf.reduce_sum(y) * v
    layer.add_loss([free], inputs=x)
    layer.add_loss(late)
    kernel, activity = layer.losses[:2]
    assert layer.losses == [kernel, activity, free, late]
    assert activity.name == "scale/ActivityRegularizer/Mean:0"
    assert layer.get_losses_for(None) == [kernel, late]
    assert layer.get_losses_for(x) == layer.get_losses_for([x]) == [activity, late]
    assert layer.get_losses_for(v) == [free, late]
    assert layer.get_losses_for(layer.w) == layer.losses[:2] + [late]
    assert layer.get_losses_for([]) == []
    assert tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES) == layer.losses


def test_losses_have_to_be_tensors() -> None:
    layer = tf.layers.Layer()
    for loss in (1.0, None, [None], np.ones(1)):
        with pytest.raises(AttributeError):
            layer.add_loss(loss)
    one = tf.constant(1.0)
    layer.add_loss(one)
    layer.add_loss(one)
    assert layer.losses == [one, one]
    assert tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES) == [one]


def test_updates() -> None:
    x = tf.placeholder(tf.float32, [])
    v = tf.get_variable("v", initializer=0.0)
    free, bound = tf.assign(v, 1.0), tf.assign(v, x).op
    layer = tf.layers.Layer()
    layer.add_update(free)
    layer.add_update([bound], inputs=x)
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == []
    layer(x)
    layer(x)
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == layer.updates == [free, bound]
    assert (layer.get_updates_for(None), layer.get_updates_for(x)) == ([free], [bound])
    layer.trainable = False
    assert (layer.updates, layer.get_updates_for(None)) == ([], [])


# --- specs ------------------------------------------------------------------------------

Spec = tf.layers.InputSpec


@pytest.mark.parametrize(
    ("spec", "shape", "fits"),
    [
        (Spec(ndim=2), [1], False),
        (Spec(ndim=2), None, False),
        (Spec(ndim=2), [1, 1], True),
        (Spec(min_ndim=2), [1], False),
        (Spec(min_ndim=2), [1, 1, 1], True),
        (Spec(max_ndim=2), [1, 1, 1], False),
        (Spec(max_ndim=2), [1], True),
        (Spec(dtype="float32"), [1], True),
        (Spec(dtype="int32"), [1], False),
        (Spec(axes={-1: 2}), [1, 1], False),
        (Spec(axes={-1: 2}), [1, 2], True),
        (Spec(axes={-1: 2}), [1, None], True),
        (Spec(shape=(None, 3)), [1, 2], False),
        (Spec(shape=(None, 3)), [1, 3], True),
        (Spec(shape=(None, 3)), [2], False),
    ],
)
def test_specs(spec: Any, shape: Any, fits: bool) -> None:
    layer = tf.layers.Layer()
    layer.input_spec = spec
    x = tf.placeholder(tf.float32, shape)
    if fits:
        layer(x)
    else:
        with pytest.raises(ValueError):
            layer(x)


def test_several_specs() -> None:
    a, b = tf.placeholder(tf.float32, [1]), tf.placeholder(tf.float32, [1, 2])
    for specs, inputs, fits in (
        ([Spec(ndim=1), Spec(ndim=2)], [a, b], True),
        ([Spec(ndim=1), Spec(ndim=2)], [a, a], False),
        ([Spec(ndim=1)], [a, b], False),
        (Spec(ndim=1), [a, b], False),
        ([None, Spec(ndim=2)], [a, b], True),
    ):
        layer = tf.layers.Layer()
        layer.input_spec = specs
        if fits:
            layer(inputs)
        else:
            with pytest.raises(ValueError):
                layer(inputs)


def test_texts_of_specs() -> None:
    assert str(Spec(ndim=5, axes={-1: 2})) == "InputSpec(ndim=5, axes={-1: 2})"
    assert str(Spec(min_ndim=2, max_ndim=3)) == "InputSpec(max_ndim=3, min_ndim=2)"
    assert str(Spec(dtype="float32", shape=(None, 3))) == (
        "InputSpec(dtype=float32, shape=(None, 3), ndim=2)"
    )


# --- arguments, graphs, copies ----------------------------------------------------------


def test_keywords() -> None:
    with pytest.raises(TypeError) as caught:
        tf.layers.Layer(nonsense=1)
    assert caught.value.args[1] == "nonsense"
    tf.layers.Layer(input_shape=(3,), batch_size=2, _reuse=None, _scope=None)
    with pytest.raises(TypeError):
        tf.layers.Layer(dtype="nope")
    assert tf.layers.Layer(dtype=np.float64).dtype == "float64"
    with pytest.raises(TypeError, match="name"):
        tf.layers.Layer(name=3)


def test_inputs_that_are_none() -> None:
    with pytest.raises(ValueError):
        Scale()(None)
    with pytest.raises(ValueError, match="call"):
        type("Nothing", (tf.layers.Layer,), {"call": lambda self, x: None})()(tf.constant(1.0))


def test_numbers_and_arrays_become_tensors() -> None:
    assert isinstance(tf.layers.Layer()(np.ones(2, "float32")), tf.Tensor)
    assert isinstance(tf.layers.Layer()([1.0, np.float32(2)])[1], tf.Tensor)


def test_graphs_do_not_mix() -> None:
    layer = Scale()
    with tf.Graph().as_default() as graph:
        layer(tf.ones([1, 2]))
        assert layer.graph is graph
    with pytest.raises(ValueError):
        layer(tf.ones([1, 2]))
    with tf.Graph().as_default():
        x = tf.ones([1, 2])
    with pytest.raises(ValueError):
        Scale()(x)


def test_copies() -> None:
    layer = Scale(name="s")
    twin, same = copy.deepcopy([layer, layer])
    assert twin is same is not layer and twin.name == "s"
    twin(tf.ones([1, 2]))
    assert twin.built and not layer.built
    with pytest.raises(TypeError):
        copy.deepcopy(twin)


def test_kept_tensors_are_shared_by_copies() -> None:
    layer = tf.layers.Layer()
    layer.kept = tf.constant(1.0)
    layer.several = [tf.constant(1.0)]
    twin = copy.deepcopy(layer)
    assert twin.kept is layer.kept and twin.several == layer.several
    assert twin.several is not layer.several


# --- eager mode -------------------------------------------------------------------------


def test_eager(eager: None) -> None:
    layer = Scale()
    y = layer(np.ones((2, 3), "float32"), factor=2.0)
    assert y.numpy().tolist() == [[2.0] * 3] * 2
    assert float(layer.losses[0]) == 3.0
    layer.w.assign([0.0, 0.0, 1.0])
    assert float(layer.losses[0]) == 1.0
    twin = copy.deepcopy(layer)
    twin.w.assign([5.0, 5.0, 5.0])
    assert layer.w.numpy().tolist() == [0.0, 0.0, 1.0]
    assert float(twin.losses[0]) == 15.0 and float(layer.losses[0]) == 1.0
    assert twin.weights[0] is twin.w


def test_eager_refusals(eager: None) -> None:
    layer = Scale()
    layer(tf.ones([1, 2]))
    for attribute in ("input", "output", "input_shape", "output_shape", "graph", "updates"):
        with pytest.raises(RuntimeError, match=attribute):
            getattr(layer, attribute)
    for method in (
        "get_input_at",
        "get_output_at",
        "get_input_shape_at",
        "get_output_shape_at",
        "get_losses_for",
        "get_updates_for",
        "add_loss",
    ):
        with pytest.raises(RuntimeError, match=method):
            getattr(layer, method)(0)
    assert layer.add_update(3) is None
    with pytest.raises(ValueError):
        tf.layers.Layer(activity_regularizer=lambda y: y)
    with pytest.raises(NotImplementedError):
        tf.layers.Layer().add_variable("v", [4], partitioner=tf.fixed_size_partitioner(2))


def test_eager_layers_check_their_spec(eager: None) -> None:
    layer = tf.layers.Conv3D(2, 1)
    layer(tf.ones([1, 2, 2, 2, 3]))
    for shape in ([1, 2, 2, 2, 4], [2, 2, 2, 3]):
        with pytest.raises(ValueError):
            layer(tf.ones(shape))


def test_threads_build_a_layer_once(eager: None) -> None:
    class Slow(tf.layers.Layer):
        def build(self, input_shape: Any) -> None:
            time.sleep(0.05)
            self.v = self.add_variable("v", [2], initializer=tf.ones_initializer())
            super().build(input_shape)

        def call(self, inputs: Any) -> Any:
            return inputs * self.v

    layer, results = Slow(), []
    threads = [
        threading.Thread(target=lambda: results.append(layer(tf.ones([2])).numpy().tolist()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1.0, 1.0]] * 8 and layer.weights == [layer.v]


def test_unbuilt_layers_can_be_pickled() -> None:
    layer = pickle.loads(pickle.dumps(tf.layers.Conv3D(2, 3, activation=tf.nn.relu, name="c")))
    assert (layer.name, layer.filters, layer.activation) == ("c", 2, tf.nn.relu)
    assert layer(tf.ones([1, 3, 3, 3, 1])).name == "c/Relu:0"


def test_nodes_of_calls() -> None:
    layer = tf.layers.Layer()
    assert layer.inbound_nodes == [] and layer.outbound_nodes == []
    layer(tf.constant([1.0]))
    assert len(layer.inbound_nodes) == 1


def test_axes_ask_for_a_known_rank() -> None:
    layer = tf.layers.Layer()
    layer.input_spec = tf.layers.InputSpec(axes={-1: 2})
    with pytest.raises(ValueError, match="rank"):
        layer(tf.placeholder(tf.float32, None))
