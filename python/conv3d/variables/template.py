"""`make_template`: a function whose variables are made by its first call and then shared."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any

from conv3d.framework import context
from conv3d.framework.graph import get_collection_ref
from conv3d.framework.graph_keys import GraphKeys
from conv3d.variables import variable_scope as scopes

__all__ = ["Template", "make_template"]


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Callable[..., Any] | None = None,
    **kwargs: Any,
) -> Template:
    """Wraps a function so that all its calls share variables.

    Args:
        name_: name of the scope, made unique.
        func_: function that makes variables with `get_variable` or layers.
        create_scope_now_: fix the scope now; otherwise the first call fixes it.
        unique_name_: name of the scope, taken as it is.
        custom_getter_: custom getter of the scope.
        **kwargs: arguments given to each call of `func_`.

    Returns:
        Callable with `variables`, `trainable_variables`, `name` and more.

    Raises:
        ValueError: at the second call, a variable that the first call did not make.

    Source: `tf.make_template`.
    """
    if kwargs:
        func_ = functools.partial(func_, **kwargs)
    return Template(name_, func_, create_scope_now_, unique_name_, custom_getter_)


class Template:
    """What :func:`make_template` returns."""

    def __init__(
        self,
        name: str,
        func: Callable[..., Any],
        create_scope_now: bool = False,
        unique_name: str | None = None,
        custom_getter: Callable[..., Any] | None = None,
    ) -> None:
        if not name:
            raise ValueError("`name_` is empty; a template needs a name")
        self._func = func
        self._name = name
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._scope: scopes.VariableScope | None = None
        self._variables_created = False
        self._lock = threading.RLock()
        # Eager mode shares nothing by name, so a template keeps what its function made.
        self._eager_variables: dict[str, Any] = {}
        if create_scope_now:
            prefix = unique_name or scopes.unique_scope_name(name)
            # No name scope yet: the first call opens it, and so gets the plain one.
            with scopes.pure_variable_scope(prefix, custom_getter=custom_getter) as scope:
                self._scope = scope

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._lock, contextlib.ExitStack() as stack:
            if self._scope is None:
                default = None if self._unique_name else self._name
                opened = scopes.variable_scope(
                    self._unique_name, default, custom_getter=self._custom_getter
                )
                self._scope = stack.enter_context(opened)
            else:
                reuse = True if self._variables_created else None
                stack.enter_context(scopes.variable_scope(self._scope, reuse=reuse))
            if context.executing_eagerly():
                return self._call_eagerly(args, kwargs)
            before, trained = self._count(), self._trainable_count()
            result = self._func(*args, **kwargs)
            if self._variables_created and self._trainable_count() > trained:
                raise ValueError(
                    f"template {self._name} made a trainable variable after its first call, so the "
                    "calls do not share it; use tf.get_variable in place of tf.Variable"
                )
            # A first call that made no variables leaves it to the next one.
            self._variables_created = self._variables_created or self._count() > before
            return result

    def _call_eagerly(self, args: Any, kwargs: Any) -> Any:
        def getter(getter: Callable[..., Any], name: str, *a: Any, **k: Any) -> Any:
            if name not in self._eager_variables:
                self._eager_variables[name] = getter(name, *a, **k)
            return self._eager_variables[name]

        assert self._scope is not None
        with scopes.variable_scope(self._scope, custom_getter=getter):
            return self._func(*args, **kwargs)

    def _count(self) -> int:
        assert self._scope is not None
        return len(self._scope.global_variables()) + len(self._scope.local_variables())

    @staticmethod
    def _trainable_count() -> int:
        return len(get_collection_ref(GraphKeys.TRAINABLE_VARIABLES))

    @property
    def name(self) -> str:
        """Name given."""
        return self._name

    @property
    def func(self) -> Callable[..., Any]:
        """Function that is wrapped."""
        return self._func

    @property
    def variable_scope(self) -> scopes.VariableScope | None:
        """Scope of the variables; None before the first call."""
        return self._scope

    @property
    def var_scope(self) -> scopes.VariableScope | None:
        """The older name of `variable_scope`."""
        return self._scope

    @property
    def variable_scope_name(self) -> str | None:
        """Name of that scope, with a slash at the end."""
        return f"{self._scope.name}/" if self._scope is not None and self._scope.name else None

    def _collection(self, key: str) -> list[Any]:
        if self._scope is None:
            return []
        if self._eager_variables or context.executing_eagerly():
            made = list(self._eager_variables.values())
            if key == GraphKeys.TRAINABLE_VARIABLES:
                return [v for v in made if v.trainable]
            return [] if key == GraphKeys.LOCAL_VARIABLES else made
        return self._scope.get_collection(key)

    @property
    def global_variables(self) -> list[Any]:
        """Global variables of the template."""
        return self._collection(GraphKeys.GLOBAL_VARIABLES)

    @property
    def local_variables(self) -> list[Any]:
        """Local variables of the template."""
        return self._collection(GraphKeys.LOCAL_VARIABLES)

    @property
    def trainable_variables(self) -> list[Any]:
        """Variables of the template that are trained."""
        return self._collection(GraphKeys.TRAINABLE_VARIABLES)

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Global variables of the template that are not trained."""
        trained = set(self.trainable_variables)
        return [v for v in self.global_variables if v not in trained]

    @property
    def variables(self) -> list[Any]:
        """Global and local variables of the template."""
        return self.global_variables + self.local_variables

    @property
    def weights(self) -> list[Any]:
        """The same as `variables`."""
        return self.variables

    @property
    def trainable_weights(self) -> list[Any]:
        """The same as `trainable_variables`."""
        return self.trainable_variables
