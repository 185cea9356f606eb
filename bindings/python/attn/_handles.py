# SPDX-License-Identifier: BSD-3-Clause
"""_handles.py: what the library's handles have in common: they are given back, and some have parameters by name. And
the engine, which has nothing else."""

from __future__ import annotations

import ctypes
import functools
import json
import weakref
from collections.abc import Mapping
from ctypes import POINTER, byref, c_int32, c_size_t, c_void_p, pointer
from typing import Any, NoReturn, TypeVar

import numpy as np

from ._abi import EngineOptions, ParamInfo, Tensor
from ._library import DTypeError, check, lib
from ._tensors import Array, ArrayLike, array_of, view
from ._values import fill, integer, only, shown, text
from ._words import WAYS, Way, choose


class Unique:
    """What there is but once: it stands on memory of the library's, of which a copy would know nothing. All ways of
    copying and pickling that a class does not have of its own come here."""

    copying = "make another one of the same arguments"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"attn.{type(self).__name__} cannot be copied or pickled: {self.copying}")


class Handle(Unique):
    """A handle of the library's, which is given back when nobody has the object any more; not before those that it
    stands on, even where the garbage collector finds them all at once."""

    kind: str

    def __init__(self) -> None:
        self.handle = c_void_p()

    def _own(self, *stands_on: object) -> None:
        destroy = getattr(lib, f"attn_{self.kind}_destroy")
        weakref.finalize(self, lambda handle, *_: destroy(handle), self.handle, *stands_on).atexit = False


AnyObject = TypeVar("AnyObject")


def instance(given: object, kind: type[AnyObject], name: str) -> AnyObject:
    """given, which must be of this class: the library takes any address for the handle that it wants."""
    if not isinstance(given, kind):
        raise DTypeError(f"{name} is {shown(given)}, but an attn.{name.capitalize()} is needed")
    return given


class Engine(Handle):
    """The means to compute: threads (None: one for each CPU), the way and the kernels (None: what suits the machine)."""

    kind = "engine"

    def __init__(self, threads: int | None = None, way: Way | None = None, kernels: str | None = None):
        super().__init__()
        options = fill(EngineOptions, threads=0 if threads is None else threads, way=choose(WAYS, way, "way"),
                       kernels=None if kernels is None else text(kernels, "kernels"))
        check(lib.attn_engine_create(byref(options), byref(self.handle)))
        self._own()

    def describe(self) -> dict[str, Any]:
        """attn_engine_describe's JSON, as a dict."""
        size = c_size_t()
        check(lib.attn_engine_describe(self.handle, None, byref(size)))
        described = ctypes.create_string_buffer(size.value)
        check(lib.attn_engine_describe(self.handle, described, byref(size)))
        about: dict[str, Any] = json.loads(described.value)
        return about


@functools.lru_cache(maxsize=None)
def _shared(threads: int | None) -> Engine:
    return Engine(threads)


def engine_of(given: Engine | None = None, threads: int | None = None) -> Engine:
    """The engine that was given, or that of all who bring none of their own."""
    if given is not None:
        return instance(given, Engine, "engine")
    return _shared(None if threads is None else integer(threads, "threads", c_int32))


class Parameters(Handle):
    """A handle with parameters, which are borrowed: arrays that stay the caller's, and that training may update in
    place."""

    def __init__(self) -> None:
        super().__init__()
        self._bound: dict[str, Array] = {}

    @functools.cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        count, info = c_int32(), ParamInfo(struct_size=ctypes.sizeof(ParamInfo))
        check(getattr(lib, f"attn_{self.kind}_param_count")(self.handle, byref(count)))
        shapes = {}
        for index in range(count.value):
            check(getattr(lib, f"attn_{self.kind}_param_info")(self.handle, index, byref(info)))
            shapes[info.name.decode()] = tuple(info.shape[:info.ndim])
        return shapes

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter by its name, in the library's order."""
        return dict(self._shapes)

    @property
    def params(self) -> dict[str, Array]:
        """The arrays that are bound."""
        return dict(self._bound)

    def bind(self, **params: ArrayLike | None) -> None:
        """Binds parameters by their names, all of them or none, and keeps the arrays alive; None unbinds."""
        self._bind(params)

    def _unbind(self) -> None:
        """Takes all of them away."""
        bind = getattr(lib, f"attn_{self.kind}_bind_param")
        while self._bound:
            name, _ = self._bound.popitem()
            check(bind(self.handle, name.encode(), None))

    def _bind(self, params: Mapping[str, ArrayLike | None]) -> None:
        bind, given, done = getattr(lib, f"attn_{self.kind}_bind_param"), [], []
        for name, what in params.items():
            array = None if what is None else array_of(what, f"parameter {name}")
            tensor = None if array is None else byref(view(array, f"parameter {name}"))
            given.append((text(name, "a parameter's name"), tensor, name, array))
        try:
            for word, tensor, name, _ in given:
                check(bind(self.handle, word, tensor))
                done.append((word, name))
        except BaseException:
            for word, name in done:
                before = self._bound.get(name)
                check(bind(self.handle, word, None if before is None else byref(view(before, name))))
            raise
        for _, _, name, array in given:
            if array is None:
                self._bound.pop(name, None)
            else:
                self._bound[name] = array

    def _gradients(self, wanted: set[str], dtype: Any) -> dict[str, Array]:
        """Room for the gradients of those parameters that are wanted, each of its parameter's type; of this one where none
        is bound."""
        return {name: np.empty(shape, self._bound[name].dtype if name in self._bound else dtype)
                for name, shape in self._shapes.items() if name in wanted}

    def _pointers(self, gradients: Mapping[str, Array]) -> Any:
        """The gradients as the library takes them, in the order of the parameters."""
        only(gradients, self._shapes, "d_params", "what has a gradient")
        pointers: list[Any] = [pointer(view(gradients[name], f"d_{name}")) if name in gradients else None
                               for name in self._shapes]
        return (POINTER(Tensor) * len(pointers))(*pointers)
