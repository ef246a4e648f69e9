"""Rows: attributes and methods of a layer."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .rows import names, raises, row, volume

ATTRIBUTES = "Attributes"
METHODS = "Methods"


@row(ATTRIBUTES, "`name`", "the string; cannot be assigned, like all that follow from a call")
def attribute_name(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, name="c")
    for attribute in ("name", "dtype", "graph", "losses", "updates", "weights", "scope_name"):
        raises(AttributeError, setattr, layer, attribute, None)


@row(ATTRIBUTES, "`scope_name`", "ValueError before the first use; then the variable scope")
def scope_name(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    raises(ValueError, lambda: layer.scope_name)
    with tf.variable_scope("outer"):
        layer(volume(tf))
    assert layer.scope_name == "outer/conv3d"


@row(ATTRIBUTES, "`dtype`", "None before the first call; then a string")
def attribute_dtype(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    assert layer.dtype is None
    layer(volume(tf))
    assert layer.dtype == "float32"


@row(ATTRIBUTES, "`graph`", "None before the first call; inputs of another graph are a ValueError")
def graph(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    assert layer.graph is None
    layer(volume(tf))
    assert layer.graph is tf.get_default_graph()
    with tf.Graph().as_default():
        raises(ValueError, layer, volume(tf))


@row(ATTRIBUTES, "`built`", "False; True after a successful build; may be assigned")
def built(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    assert layer.built is False
    layer(volume(tf))
    assert layer.built is True


@row(ATTRIBUTES, "`input_spec`", "rank 5; after the build also the number of channels")
def input_spec(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    assert layer.input_spec.ndim == 5 and not layer.input_spec.axes
    layer(volume(tf))
    assert layer.input_spec.axes == {-1: 2}


@row(ATTRIBUTES, "`kernel`, `bias`", "the variables; they do not exist before the build")
def kernel_and_bias(tf: Any) -> None:
    layer = tf.layers.Conv3D(4, (1, 2, 3), name="c")
    raises(AttributeError, lambda: layer.kernel)
    layer(volume(tf))
    assert (layer.kernel.name, layer.bias.name) == ("c/kernel:0", "c/bias:0")
    assert layer.kernel.shape.as_list() == [1, 2, 3, 2, 4]
    assert layer.bias.shape.as_list() == [4]


@row(
    ATTRIBUTES,
    "`trainable`",
    "may be switched; moves the lists of the layer, not the graph's collection",
)
def attribute_trainable(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    layer(volume(tf))
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 2
    assert len(tf.trainable_variables()) == 2
    layer.trainable = True
    assert len(layer.trainable_variables) == 2 and layer.non_trainable_variables == []


@row(
    ATTRIBUTES,
    "`weights`, `variables`",
    "all variables, the kernel first, also in a layer that reuses those of another",
    "lists nothing for a layer that reuses variables; documented as all",
)
def weights(tf: Any) -> None:
    first = tf.layers.Conv3D(1, 1, name="c", _scope="c")
    first(volume(tf))
    second = tf.layers.Conv3D(1, 1, name="c", _scope="c", _reuse=True)
    second(volume(tf))
    assert names(first.weights) == names(second.variables) == ["c/kernel:0", "c/bias:0"]
    assert second.count_params() == 3


@row(ATTRIBUTES, "`losses`", "in the order they were made: kernel, bias, then activity by call")
def losses(tf: Any) -> None:
    keep: Any = tf.reduce_sum
    layer = tf.layers.Conv3D(
        1, 1, kernel_regularizer=keep, bias_regularizer=keep, activity_regularizer=keep, name="c"
    )
    assert layer.losses == []
    layer(volume(tf))
    said = names(layer.losses)
    assert said[:2] == ["c/kernel/Regularizer/Sum:0", "c/bias/Regularizer/Sum:0"]
    assert len(said) == 3 and said[2].startswith("c/ActivityRegularizer")


@row(ATTRIBUTES, "`updates`", "what `add_update` got; empty while the layer is not trainable")
def updates(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    x = volume(tf)
    layer(x)
    layer.add_update(tf.assign_add(layer.bias, [1.0]))
    assert len(layer.updates) == 1
    layer.trainable = False
    assert layer.updates == []


@row(
    ATTRIBUTES,
    "`input`, `output`",
    "the tensors of the one call; none or several: AttributeError, as documented",
    "records only inputs made by `keras.layers.Input`, and gives the first of several",
)
def input_and_output(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    raises(AttributeError, lambda: layer.input)
    raises(AttributeError, lambda: layer.output)
    x = volume(tf)
    y = layer(x)
    assert layer.input is x and layer.output is y
    layer(volume(tf))
    raises(AttributeError, lambda: layer.input)
    raises(AttributeError, lambda: layer.output)


@row(
    ATTRIBUTES,
    "`input_shape`, `output_shape`",
    "a tuple where all calls agree, else AttributeError",
    "records only inputs made by `keras.layers.Input`",
)
def input_and_output_shape(tf: Any) -> None:
    layer = tf.layers.Conv3D(3, 2)
    raises(AttributeError, lambda: layer.input_shape)
    layer(volume(tf))
    layer(volume(tf))
    assert tuple(layer.input_shape) == (None, 6, 6, 6, 2)
    assert tuple(layer.output_shape) == (None, 5, 5, 5, 3)
    layer(volume(tf, 1, 7, 7, 7, 2))
    raises(AttributeError, lambda: layer.input_shape)
    raises(AttributeError, lambda: layer.output_shape)


@row(ATTRIBUTES, "`activity_regularizer`", "as given")
def attribute_activity_regularizer(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1, activity_regularizer=abs).activity_regularizer is abs


@row(METHODS, "`__call__`", "ops of every call stand under the name scope of the first")
def call(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, name="c")
    with tf.name_scope("first"):
        assert layer(volume(tf)).name == "first/c/BiasAdd:0"
    with tf.name_scope("second"):
        assert layer(volume(tf)).name == "first/c/BiasAdd_1:0"


@row(METHODS, "`__call__` on a list", "one tensor in a list is taken; two are a ValueError")
def call_list(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    raises(ValueError, layer, [volume(tf), volume(tf)])


@row(
    METHODS,
    "`__call__` on a NumPy array",
    "converted, in both modes",
    "AttributeError; 1.15 converts",
)
def call_array(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1)(np.ones((1, 2, 2, 2, 1), np.float32)).dtype == tf.float32


@row(METHODS, "`__call__` with other keywords", "TypeError")
def call_keywords(tf: Any) -> None:
    raises(TypeError, tf.layers.Conv3D(1, 1), volume(tf), training=True)


@row(METHODS, "`apply`", "the same as calling")
def apply(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1, name="c").apply(volume(tf)).name == "c/BiasAdd:0"


@row(METHODS, "`build`", "makes the variables from a shape; channels undefined: ValueError")
def build(tf: Any) -> None:
    layer = tf.layers.Conv3D(3, 2, name="c")
    assert layer.build([None, None, None, None, 5]) is None
    layer(volume(tf, None, 4, 4, 4, 5))
    assert layer.built and len(tf.global_variables()) == 2
    raises(ValueError, tf.layers.Conv3D(3, 2).build, (1, 4, 4, 4, None))


@row(METHODS, "`call`", "the computation alone; AttributeError before the build")
def call_method(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    raises(AttributeError, layer.call, volume(tf))
    layer(volume(tf))
    assert layer.call(volume(tf)).shape.as_list() == [None, 6, 6, 6, 1]


@row(METHODS, "`compute_output_shape`", "a `TensorShape`, without building; unknown stays unknown")
def compute_output_shape(tf: Any) -> None:
    layer = tf.layers.Conv3D(3, (2, 3, 4), strides=2)
    shape = layer.compute_output_shape((None, 8, None, 9, 1))
    assert shape.as_list() == [None, 4, None, 3, 3] and not layer.built
    raises(ValueError, layer.compute_output_shape, (1, 1, 1, 1, 1))


@row(METHODS, "`count_params`", "an int over all weights; ValueError before the build")
def count_params(tf: Any) -> None:
    layer = tf.layers.Conv3D(4, 3)
    raises(ValueError, layer.count_params)
    layer(volume(tf))
    assert layer.count_params() == 27 * 2 * 4 + 4


@row(
    METHODS, "`add_variable`", "a variable in the layer's scope; after the build only existing ones"
)
def add_variable(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, name="c")
    extra = layer.add_variable("extra", [2], initializer=tf.ones_initializer())
    assert extra.name == "c/extra:0" and layer.weights == [extra]
    raises(ValueError, layer.add_variable, "extra", [2])
    layer(volume(tf))
    raises(ValueError, layer.add_variable, "new", [2])


@row(METHODS, "`add_loss`", "one or a list; with `inputs` the loss is conditional; returns None")
def add_loss(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    x = volume(tf)
    y = layer(x)
    always, sometimes = tf.constant(1.0), tf.reduce_sum(y)
    assert layer.add_loss([always]) is None
    layer.add_loss(sometimes, inputs=x)
    assert layer.losses == [always, sometimes]
    assert tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES) == [always, sometimes]
    assert layer.get_losses_for(None) == [always] and layer.get_losses_for(x) == [sometimes]


@row(
    METHODS, "`get_losses_for`", "None: the unconditional ones; tensors: those reachable from them"
)
def get_losses_for(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    x = volume(tf)
    layer(x)
    unrelated = tf.constant(1.0)
    layer.add_loss(unrelated, inputs=x)
    assert layer.get_losses_for(x) == layer.get_losses_for(None) == layer.get_losses_for([]) == []


@row(METHODS, "`add_update`, `get_updates_for`", "as the losses; UPDATE_OPS is filled by a call")
def add_update(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    x = volume(tf)
    layer(x)
    update = tf.assign_add(layer.bias, [1.0])
    layer.add_update(update)
    assert len(layer.get_updates_for(None)) == 1 and layer.get_updates_for(x) == []
    layer(x)
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 1


@row(
    METHODS,
    "`get_input_at`, `get_output_at`, `get_input_shape_at`, `get_output_shape_at`",
    "of the i-th call; RuntimeError before any call, ValueError for an index that does not exist",
    "records only inputs made by `keras.layers.Input`",
)
def get_at(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    raises(RuntimeError, layer.get_input_at, 0)
    calls = [(x, layer(x)) for x in (volume(tf), volume(tf, 1, 3, 3, 3, 2))]
    for i, (x, y) in enumerate(calls):
        assert layer.get_input_at(i) is x and layer.get_output_at(i) is y
        assert tuple(layer.get_input_shape_at(i)) == tuple(x.shape.as_list())
        assert tuple(layer.get_output_shape_at(i)) == tuple(y.shape.as_list())
    raises(ValueError, layer.get_output_at, 2)


@row(METHODS, "`copy.deepcopy`", "of an unbuilt layer: independent, of the same name")
def deepcopy(tf: Any) -> None:
    layer = tf.layers.Conv3D(2, 3, name="c")
    twin = copy.deepcopy(layer)
    twin(volume(tf))
    assert twin.name == "c" and twin.built and not layer.built


@row(METHODS, "`copy.deepcopy` of a built layer in graph mode", "TypeError")
def deepcopy_built(tf: Any) -> None:
    layer = tf.layers.Conv3D(2, 3)
    layer(volume(tf))
    raises(TypeError, copy.deepcopy, layer)


@row(METHODS, "subclasses", "own `build` and `call`; named after the class in snake case")
def subclass(tf: Any) -> None:
    class MyConv3DThing(tf.layers.Conv3D):
        pass

    layer = MyConv3DThing(1, 1)
    assert layer.name == "my_conv3d_thing_1"
    assert layer(volume(tf)).name == "my_conv3d_thing/BiasAdd:0"
