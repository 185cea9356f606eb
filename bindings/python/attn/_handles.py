# SPDX-License-Identifier: BSD-3-Clause
"""_handles.py: what the library's handles have in common: they are given back, and some have parameters by name. And
the engine, which has nothing else."""

from __future__ import annotations

import ctypes
import functools
import json
import weakref
from ctypes import POINTER, byref, c_int32, c_size_t, c_void_p, pointer
from typing import Any

import numpy as np

from ._abi import EngineOptions, ParamInfo, Tensor
from ._library import check, lib
from ._tensors import Array, ArrayLike, array_of, view
from ._words import WAYS, Way, choose


class Handle:
    """A handle of the library's, which is given back when nobody has the object any more; not before those that it
    stands on, even where the garbage collector finds them all at once."""

    kind: str

    def __init__(self) -> None:
        self.handle = c_void_p()

    def _own(self, *stands_on: object) -> None:
        destroy = getattr(lib, f"attn_{self.kind}_destroy")
        weakref.finalize(self, lambda handle, *_: destroy(handle), self.handle, *stands_on).atexit = False


class Engine(Handle):
    """The means to compute: threads (None: one for each CPU), the way and the kernels (None: what suits the machine)."""

    kind = "engine"

    def __init__(self, threads: int | None = None, way: Way | None = None, kernels: str | None = None):
        super().__init__()
        options = EngineOptions(struct_size=ctypes.sizeof(EngineOptions), threads=threads or 0,
                                way=choose(WAYS, way, "way"), kernels=kernels.encode() if kernels else None)
        check(lib.attn_engine_create(byref(options), byref(self.handle)))
        self._own()

    def describe(self) -> dict[str, Any]:
        """attn_engine_describe's JSON, as a dict."""
        size = c_size_t()
        check(lib.attn_engine_describe(self.handle, None, byref(size)))
        text = ctypes.create_string_buffer(size.value)
        check(lib.attn_engine_describe(self.handle, text, byref(size)))
        described: dict[str, Any] = json.loads(text.value)
        return described


@functools.lru_cache(maxsize=None)
def shared_engine(threads: int | None = None) -> Engine:
    """The engine of whoever brings none of his own."""
    return Engine(threads)


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
        """Binds parameters by their names, and keeps the arrays alive; None unbinds."""
        for name, given in params.items():
            array = None if given is None else array_of(given, f"parameter {name}")
            tensor = None if array is None else byref(view(array, f"parameter {name}"))
            check(getattr(lib, f"attn_{self.kind}_bind_param")(self.handle, name.encode(), tensor))
            self._bound.pop(name, None)
            if array is not None:
                self._bound[name] = array

    def _gradients(self, wanted: Any, dtype: Any) -> dict[str, Array]:
        """Room for the gradients of those parameters that are wanted; wanted None: of all."""
        return {name: np.empty(shape, dtype) for name, shape in self._shapes.items()
                if wanted is None or name in wanted}

    def _pointers(self, gradients: dict[str, Array]) -> Any:
        """The gradients as the library takes them, in the order of the parameters."""
        pointers: list[Any] = [pointer(view(gradients[name], f"d_{name}")) if name in gradients else None
                               for name in self._shapes]
        return (POINTER(Tensor) * len(pointers))(*pointers)
