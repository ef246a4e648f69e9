"""The base of all optimizers: gradients, slots, the update step, constraints, the step count.

A subclass says which slots it keeps (`_create_slots`), converts its hyper-parameters (`_prepare`),
and adds one update op per variable (`_apply_dense`). Everything else is here.

Source: `tf.train.Optimizer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from conv3d.framework import context, convert, dtypes, gradients, indexed_slices
from conv3d.framework.graph import GraphKeys, get_collection_ref
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.framework.tensor import Tensor
from conv3d.ops import (
    array_more_ops,
    array_ops,
    control_flow_ops,
    math_ops,
    math_reduce_ops,
    state_ops,
    training_ops,
)
from conv3d.train import slot_creator
from conv3d.variables import collections as variable_collections
from conv3d.variables.partitioned import PartitionedVariable
from conv3d.variables.variable import Variable

GradsAndVars = list[tuple[Any, Any]]

# Imported for its ops, which subclasses call by name.
assert training_ops

_VALID_DTYPES = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


def _key(variable: Any) -> Any:
    """What identifies a variable among slots: its node, or in eager mode the object."""
    if context.executing_eagerly() or getattr(variable, "_eager", False):
        return id(variable)
    return variable.op.graph, variable.op.name


def _flatten(variables: Any) -> list[Any]:
    if isinstance(variables, (list, tuple, set)):
        return [one for item in variables for one in _flatten(item)]
    if isinstance(variables, dict):
        return [one for key in sorted(variables) for one in _flatten(variables[key])]
    return [variables]


class Optimizer:
    """Base class of optimizers.

    Args:
        use_locking: accepted; updates of one variable never interleave.
        name: prefix of the ops and slots that the optimizer makes.

    Raises:
        ValueError: `name` is empty.
    """

    #: Gradients may be used as soon as each is there.
    GATE_NONE = 0
    #: All gradients of an op are computed before one is used.
    GATE_OP = 1
    #: All gradients are computed before one is used.
    GATE_GRAPH = 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError(f"name: an optimizer needs a name that is not empty, got {name!r}")
        self._name = name
        self._use_locking = use_locking
        self._slots: dict[str, dict[Any, Any]] = {}
        self._non_slot_dict: dict[tuple[str, Any], Any] = {}
        # Eager variables are known by id(): keep them alive so that no other takes the id.
        self._kept: dict[int, Any] = {}

    def get_name(self) -> str:
        """The name given at construction."""
        return self._name

    # ---- the three steps -------------------------------------------------------------------------

    def minimize(
        self,
        loss: Any,
        global_step: Any = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Any:
        """One step that makes `loss` smaller: `compute_gradients`, then `apply_gradients`.

        Args:
            loss: a tensor; in eager mode a function without arguments that returns it.
            global_step: a variable to be incremented after the step.
            var_list: the variables to change; by default all trainable ones of the graph, or in
                eager mode those that `loss` used.
            gate_gradients: GATE_NONE, GATE_OP or GATE_GRAPH.
            aggregation_method: accepted; there is one way to add gradients.
            colocate_gradients_with_ops: accepted; there is one device.
            name: name of the resulting operation.
            grad_loss: gradient of some further value by `loss`; by default ones.

        Returns:
            The operation that does the step; None in eager mode, where it has been done.

        Raises:
            ValueError: there are no variables, or none of them has a gradient.
            RuntimeError: `loss` is no function in eager mode.
        """
        grads_and_vars = self.compute_gradients(
            loss,
            var_list=var_list,
            gate_gradients=gate_gradients,
            aggregation_method=aggregation_method,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
            grad_loss=grad_loss,
        )
        if all(gradient is None for gradient, _ in grads_and_vars):
            names = [str(getattr(v, "name", v)) for _, v in grads_and_vars]
            raise ValueError(
                f"loss: {loss!r} depends on none of the variables {names} through differentiable "
                "ops, so there is no gradient to apply"
            )
        return self.apply_gradients(grads_and_vars, global_step=global_step, name=name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> GradsAndVars:
        """The gradients of `loss` by each variable; see `minimize` for the arguments.

        Returns:
            A list of pairs `(gradient, variable)`; a gradient is None where `loss` does not depend
            on the variable.

        Raises:
            ValueError: there are no variables, `gate_gradients` is unknown, or a dtype is not
                floating.
            TypeError: an element of `var_list` is no variable.
            RuntimeError: `loss` is no function in eager mode.
            NotImplementedError: an element of `var_list` cannot be updated as a whole.
        """
        if context.executing_eagerly():
            if not callable(loss):
                raise RuntimeError(
                    "loss: in eager mode it has to be a function without arguments that computes "
                    f"the loss, got {loss!r}"
                )
            return self._eager_gradients(loss, var_list, grad_loss)
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise ValueError(
                "gate_gradients: Optimizer.GATE_NONE, GATE_OP or GATE_GRAPH is accepted, got "
                f"{gate_gradients!r}"
            )
        if callable(loss) and not isinstance(loss, Tensor):
            loss = loss()
        loss = convert.convert_to_tensor(loss)
        self._assert_valid_dtypes([loss])
        if grad_loss is not None:
            grad_loss = convert.convert_to_tensor(grad_loss)
            self._assert_valid_dtypes([grad_loss])
        variables = (
            list(variable_collections.trainable_variables())
            if var_list is None
            else _flatten(var_list)
        )
        if not variables:
            raise ValueError(
                "var_list: there are no variables to optimize; without var_list the trainable "
                "variables of the graph are meant"
            )
        targets = [self._target(variable) for variable in variables]
        found = gradients.gradients(
            loss,
            targets,
            grad_ys=grad_loss,
            gate_gradients=gate_gradients == self.GATE_OP,
            aggregation_method=aggregation_method,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
        )
        if gate_gradients == self.GATE_GRAPH:
            found = control_flow_ops.tuple(found)
        pairs = list(zip(found, variables, strict=True))
        self._assert_valid_dtypes([variable for g, variable in pairs if g is not None])
        return pairs

    def _eager_gradients(
        self, loss: Callable[[], Any], var_list: Any, grad_loss: Any
    ) -> GradsAndVars:
        with gradients.GradientTape() as tape:
            chosen = None if var_list is None else _flatten(var_list)
            for variable in chosen or ():
                tape.watch(variable)
            value = loss()
        variables = list(tape.watched_variables()) if chosen is None else chosen
        if not variables:
            raise ValueError("var_list: the loss uses no trainable variables, nothing to optimize")
        found = tape.gradient(value, variables, grad_loss)
        return list(zip(found, variables, strict=True))

    @staticmethod
    def _target(variable: Any) -> Any:
        """What the gradient is taken by."""
        if isinstance(variable, PartitionedVariable):
            raise NotImplementedError(
                f"var_list: {variable.name!r} is a PartitionedVariable; pass its parts, "
                "list(variable)"
            )
        if not isinstance(variable, (Variable, Tensor)):
            raise TypeError(f"var_list: variables are accepted, got {variable!r}")
        return variable

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[Any, Any]],
        global_step: Any = None,
        name: str | None = None,
    ) -> Any:
        """Updates the variables by their gradients, then applies their constraints.

        Args:
            grads_and_vars: pairs as `compute_gradients` gives them; those with None are left out.
            global_step: a variable to be incremented after all updates.
            name: name of the resulting operation; by default that of the optimizer.

        Returns:
            The operation that does the step; None in eager mode, where it has been done.

        Raises:
            ValueError: no pairs, or all gradients are None.
            TypeError: a gradient cannot become a tensor.
            RuntimeError: `_create_slots` of a subclass has to be overridden, or a constraint is
                combined with a sparse gradient.
            NotImplementedError: an element is no variable.
        """
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError("grads_and_vars: no pairs of gradient and variable are given")
        used = []
        for gradient, variable in pairs:
            if gradient is None:
                continue
            if not isinstance(variable, Variable):
                raise NotImplementedError(
                    f"grads_and_vars: {variable!r} is no variable that can be updated"
                )
            try:
                used.append((indexed_slices.convert_or_slices(gradient), variable))
            except TypeError as error:
                raise TypeError(
                    f"grads_and_vars: the gradient {gradient!r} of {variable.name} is neither None "
                    "nor convertible to a tensor"
                ) from error
        if not used:
            names = [variable.name for _, variable in pairs]
            raise ValueError(f"grads_and_vars: there is no gradient for any of {names}")
        with context.init_scope():
            self._create_slots([variable for _, variable in used])
        eager = context.executing_eagerly()
        with context.name_scope(name, self._name) as scope:
            self._prepare()
            updates = []
            for gradient, variable in used:
                suffix = "" if eager else variable.op.name
                with context.name_scope("update_" + suffix):
                    updates.append(self._update(gradient, variable))
            if global_step is None:
                result = self._finish(updates, scope)
            else:
                done = self._finish(updates, "update")
                with context.control_dependencies([] if eager else [done]):
                    result = state_ops.assign_add(global_step, 1, name=scope)
        if eager:
            return None
        operation = result.op if isinstance(result, (Tensor, Variable)) else result
        train_ops = get_collection_ref(GraphKeys.TRAIN_OP)
        if operation not in train_ops:
            train_ops.append(operation)
        return operation

    def _update(self, gradient: Any, variable: Any) -> Any:
        eager = context.executing_eagerly()
        if isinstance(gradient, IndexedSlices):
            if variable.constraint is not None:
                raise RuntimeError(
                    f"{variable.name} has a constraint, which cannot be combined with a sparse "
                    "gradient such as that of tf.gather"
                )
            return self._apply_sparse_duplicate_indices(gradient, variable)
        if eager or getattr(variable, "handle", None) is not None:
            update = self._resource_apply_dense(gradient, variable)
        else:
            update = self._apply_dense(gradient, variable)
        if variable.constraint is None:
            return update
        with context.control_dependencies([] if eager else [update]):
            # A read of its own: the variable's usual node may have run before the update.
            projected = variable.constraint(variable.read_value())
            assigned = variable.assign(projected)
        return assigned if eager else assigned.op

    # ---- slots -----------------------------------------------------------------------------------

    def get_slot(self, var: Any, name: str) -> Any:
        """The slot `name` of the variable `var`, or None if there is none."""
        return self._slots.get(name, {}).get(_key(var))

    def get_slot_names(self) -> list[str]:
        """Names of all kinds of slots that there are, sorted."""
        return sorted(self._slots)

    def variables(self) -> list[Any]:
        """The optimizer's own variables in the current graph, sorted by name."""
        found = [*self._non_slot_dict.values()]
        for slots in self._slots.values():
            found.extend(slots.values())
        if not context.executing_eagerly():
            graph = context.get_default_graph()
            found = [v for v in found if getattr(v, "_graph", graph) is graph]
        return sorted(found, key=lambda variable: str(variable.name))

    def _slot_dict(self, slot_name: str) -> dict[Any, Any]:
        return self._slots.setdefault(slot_name, {})

    def _keep(self, var: Any, slot_name: str, make: Callable[[], Any]) -> Any:
        slots = self._slot_dict(slot_name)
        key = _key(var)
        if key not in slots:
            slots[key] = make()
            if isinstance(key, int):
                self._kept[key] = var
        return slots[key]

    def _get_or_make_slot(self, var: Any, val: Any, slot_name: str, op_name: str) -> Any:
        """The slot `slot_name` of `var`; made with the value `val` and named by `op_name`."""
        return self._keep(var, slot_name, lambda: slot_creator.create_slot(var, val, op_name))

    def _get_or_make_slot_with_initializer(
        self, var: Any, initializer: Any, shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Any:
        """The same with an initializer."""
        return self._keep(
            var,
            slot_name,
            lambda: slot_creator.create_slot_with_initializer(
                var, initializer, shape, dtype, op_name
            ),
        )

    def _zeros_slot(self, var: Any, slot_name: str, op_name: str) -> Any:
        """The same with zeros."""
        return self._keep(var, slot_name, lambda: slot_creator.create_zeros_slot(var, op_name))

    def _constant_slot(self, var: Any, value: float, slot_name: str, op_name: str) -> Any:
        """The same with one value everywhere."""
        from conv3d import initializers

        dtype = var.dtype.base_dtype
        if var.get_shape().is_fully_defined():
            return self._get_or_make_slot_with_initializer(
                var,
                initializers.constant_initializer(value, dtype=dtype),
                var.get_shape(),
                dtype,
                slot_name,
                op_name,
            )

        def make() -> Any:
            shape = array_ops.shape(var.initialized_value())
            filled = array_ops.fill(shape, convert.convert_to_tensor(value, dtype=dtype))
            return slot_creator.create_slot(var, filled, op_name)

        return self._keep(var, slot_name, make)

    def _create_non_slot_variable(self, initial_value: Any, name: str, colocate_with: Any) -> Any:
        """A variable of the optimizer that belongs to no other, e.g. a power of beta."""
        key = name, None if context.executing_eagerly() else colocate_with.graph
        found = self._non_slot_dict.get(key)
        if found is None:
            found = Variable(initial_value, name=name, trainable=False)
            self._non_slot_dict[key] = found
        return found

    def _get_non_slot_variable(self, name: str, graph: Any = None) -> Any:
        return self._non_slot_dict.get((name, graph))

    def _non_slot_variables(self) -> Sequence[Any]:
        return list(self._non_slot_dict.values())

    # ---- what subclasses say ---------------------------------------------------------------------

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        """Makes the slots of the variables; by default none."""

    def _prepare(self) -> None:
        """Converts hyper-parameters to tensors, once for each step or graph."""

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        """Adds the op that updates `var` by `grad` and returns it."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to update a variable")

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        """The same for resource variables."""
        return self._apply_dense(grad, handle)

    def _apply_sparse_duplicate_indices(self, grad: Any, var: Any) -> Any:
        """Updates `var` by `IndexedSlices`; the slices of a row that is named twice are added."""
        places, position = array_more_ops.unique(grad.indices)
        count = array_ops.shape(places)[0]
        rows = math_reduce_ops.unsorted_segment_sum(grad.values, position, count)
        return self._apply_sparse(IndexedSlices(rows, places, grad.dense_shape), var)

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        """Adds the op that updates `var` by `IndexedSlices` that name each row once."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to update some rows")

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        """Closes a step: one operation that stands for all updates."""
        if context.executing_eagerly():
            return None
        return control_flow_ops.group(*update_ops, name=name_scope)

    def _assert_valid_dtypes(self, tensors: Iterable[Any]) -> None:
        valid = self._valid_dtypes()
        for tensor in tensors:
            dtype = tensor.dtype.base_dtype
            if dtype not in valid:
                raise ValueError(
                    f"{getattr(tensor, 'name', tensor)}: has the dtype {dtype.name}; an optimizer "
                    f"accepts {', '.join(sorted(one.name for one in valid))}"
                )

    def _valid_dtypes(self) -> Sequence[Any]:
        return _VALID_DTYPES

    @staticmethod
    def _call_if_callable(param: Any) -> Any:
        """A hyper-parameter, or what it returns if it is a function."""
        return param() if callable(param) and not isinstance(param, (Tensor, Variable)) else param

    def _tensor(self, value: Any, name: str) -> Any:
        """A hyper-parameter as a tensor."""
        return convert.convert_to_tensor(self._call_if_callable(value), name=name)

    @staticmethod
    def _like(scalar: Any, var: Any) -> Any:
        """A hyper-parameter in the dtype of `var`."""
        if scalar.dtype.base_dtype == var.dtype.base_dtype:
            return scalar
        return math_ops.cast(scalar, var.dtype.base_dtype)

    @staticmethod
    def _operation(result: Any) -> Any:
        """The operation of an update's result; in eager mode the result itself."""
        return result if context.executing_eagerly() else result.op


class RowwiseOptimizer(Optimizer):
    """An optimizer whose rule treats each row alone: a sparse gradient changes only its rows.

    `_apply_dense` of a subclass hands `grad`, of either form, to `training_ops.update`.
    """

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        return self._apply_dense(grad, var)
