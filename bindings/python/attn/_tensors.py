# SPDX-License-Identifier: BSD-3-Clause
"""_tensors.py: views of other people's arrays. NumPy's are taken as they are, those of other libraries through
__dlpack__; nothing is ever copied or converted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from ctypes import (POINTER, PYFUNCTYPE, Structure, c_char, c_char_p, c_int, c_void_p, pointer, py_object, pythonapi,
                    sizeof)
from typing import Any, Protocol, Union

import numpy as np
import numpy.typing as npt

from ._abi import Tensor
from ._library import constant


class SupportsDLPack(Protocol):
    """What torch, JAX and other libraries have."""

    def __dlpack__(self, *args: Any, **keywords: Any) -> Any: ...

    def __dlpack_device__(self) -> Any: ...


Array = npt.NDArray[Any]
ArrayLike = Union[Array, SupportsDLPack]
Lengths = Union[ArrayLike, Sequence[int]]

DTYPES = {np.dtype(numpy): constant(f"ATTN_{name}") for numpy, name in (
    ("f4", "F32"), ("f8", "F64"), ("f2", "F16"), ("i1", "I8"), ("?", "BOOL"), ("i4", "I32"), ("i8", "I64"))}


def array_of(given: object, name: str) -> Array:
    """given as a NumPy array over the same memory."""
    if isinstance(given, np.ndarray):
        return given
    if not hasattr(given, "__dlpack__"):
        raise TypeError(f"{name} is a {type(given).__name__}, but an array is needed, NumPy's or one with __dlpack__")
    try:
        return np.from_dlpack(given)
    except (BufferError, RuntimeError, TypeError, ValueError) as why:
        raise TypeError(f"{name} is a {type(given).__name__} that cannot be looked at without a copy: {why}") from why


def maybe(given: object, name: str) -> Array | None:
    return None if given is None else array_of(given, name)


def lengths_of(given: object, name: str) -> Array | None:
    """An array of whole numbers; of a list, which has no memory to look at, a new one."""
    if isinstance(given, (list, tuple)):
        return np.array(given, np.int64)
    return maybe(given, name)


def like(array: Array, given: object) -> Any:
    """array as what given is: over the same memory, by the library that given is of."""
    if given is None or isinstance(given, np.ndarray):
        return array
    name = type(given).__module__.partition(".")[0]
    library = sys.modules["jax.numpy" if name in ("jax", "jaxlib") else name]
    return library.from_dlpack(array)


class _Interface(Structure):
    """PyArrayInterface of NumPy's array interface protocol, version 3."""

    _fields_ = [("two", c_int), ("nd", c_int), ("typekind", c_char), ("itemsize", c_int), ("flags", c_int),
                ("shape", c_void_p), ("strides", c_void_p), ("data", c_void_p)]


_AT_DATA = _Interface.data.offset // sizeof(c_void_p)
_words_of = PYFUNCTYPE(POINTER(c_void_p), py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))
pointer_at, HEAD = c_void_p.from_address, object.__basicsize__


def _address_by_protocol(array: Array) -> int | None:
    where: int | None = _words_of(array.__array_struct__, None)[_AT_DATA]
    return where


def _address_in_object(array: Array) -> int | None:
    return pointer_at(id(array) + HEAD).value


def _is_in_object() -> bool:
    """CPython's id() is the object's address, and in NumPy's C interface the pointer follows the object's head."""
    if sys.implementation.name != "cpython":
        return False
    probe = np.zeros((3, 5))
    return all(_address_in_object(array) == _address_by_protocol(array) for array in (probe, probe[1:, ::-2], probe.T))


# Where an array begins. array.ctypes takes a microsecond, the protocol a third of that, the object a tenth.
IN_OBJECT = _is_in_object()
address = _address_in_object if IN_OBJECT else _address_by_protocol


def view(array: Array, name: str) -> Tensor:
    """An attn_tensor over the array's memory. The library judges shape, alignment and whether the dtype fits there."""
    dtype = DTYPES.get(array.dtype)
    if dtype is None:
        raise TypeError(f"{name} is {array.dtype}, but float32 or float64 is computed with; nothing is converted")
    if array.ndim > 4:
        raise ValueError(f"{name} has {array.ndim} dimensions, but at most 4 are taken")
    size, strides = array.itemsize, array.strides
    if any([stride % size for stride in strides]):
        raise ValueError(f"{name} has strides of {strides} bytes, which are no multiples of its {size}-byte elements")
    return Tensor(address(array), dtype, array.ndim, array.shape,
                  tuple([stride // size for stride in strides]))


def lay(args: Structure, tensors: Mapping[str, Array | None]) -> dict[str, Tensor]:
    """Views of the tensors that there are, for a struct's members of their names."""
    views = {name: view(array, name) for name, array in tensors.items() if array is not None}
    for name, tensor in views.items():
        setattr(args, name, pointer(tensor))
    return views


def writable(given: object, name: str) -> Array:
    array = array_of(given, name)
    if not array.flags.writeable:
        raise ValueError(f"{name} cannot be written to")
    return array
