# SPDX-License-Identifier: BSD-3-Clause
"""_tensors.py: views of other people's arrays. NumPy's are taken as they are, those of other libraries through
__dlpack__; nothing is ever copied or converted."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from ctypes import (POINTER, PYFUNCTYPE, Structure, c_char, c_char_p, c_int, c_void_p, pointer, py_object, pythonapi,
                    sizeof)
from typing import Any, Protocol, Union, cast

import numpy as np
import numpy.typing as npt

from . import _dlpack
from ._abi import Tensor
from ._dtypes import REAL, SCALE, STORED, TRUTH, WHOLE, DType, bfloat16, name_of, names, same
from ._library import ArgumentError, DTypeError, ShapeError
from ._values import integer, shown


class SupportsDLPack(Protocol):
    """What torch, JAX and other libraries have."""

    def __dlpack__(self, *args: Any, **keywords: Any) -> Any: ...

    def __dlpack_device__(self) -> Any: ...


Array = npt.NDArray[Any]
ArrayLike = Union[Array, SupportsDLPack]
Lengths = Union[ArrayLike, Sequence[int]]

_BITS = np.dtype("u2"), np.dtype("i2")
_TAKEN = {"mask": TRUTH, **dict.fromkeys(("key", "value", "key_pages", "value_pages"), STORED),
          **dict.fromkeys(("key_scales", "value_scales"), SCALE),
          **dict.fromkeys(("key_lengths", "query_offsets", "key_offsets", "page_table", "page_offsets", "a_lengths",
                          "b_lengths", "counts", "offsets", "lengths", "rows", "slots", "positions", "key_positions",
                          "strongest"), WHOLE)}


_NOT_LOOKED_AT = AttributeError, BufferError, NotImplementedError, RuntimeError, TypeError, ValueError


def array_of(given: object, name: str) -> Array:
    """given as a NumPy array over the same memory."""
    if type(given) is np.ndarray:
        return given
    if isinstance(given, np.ndarray):
        if isinstance(given, np.ma.MaskedArray):
            raise DTypeError(f"{name} is a masked array, but what it hides would be computed with: give its .filled() or "
                             ".data, and say by mask or key_lengths which keys may be seen")
        return given.view(np.ndarray)  # matrices and the like have ways of their own
    tensor: Any = given
    try:
        elsewhere = tensor.is_neg() or tensor._is_zerotensor()  # of which torch's own export does not tell
    except AttributeError:  # nobody else has such
        elsewhere = False
    if elsewhere:
        raise DTypeError(f"{name} is a tensor that stands for other numbers than lie in its memory: give its .resolve_neg(), "
                         "or a sum with 0")
    try:
        return np.from_dlpack(tensor)
    except _NOT_LOOKED_AT as why:
        try:
            return cast(Array, _dlpack.taken(tensor))
        except _NOT_LOOKED_AT:
            raise _refusal(given, name, why) from why


def _refusal(given: object, name: str, why: Exception) -> DTypeError:
    """Why there is no array over given's memory, and what to do."""
    kinds, what = type(given).__mro__, f"{name} is a {type(given).__name__}"
    if any(kind.__name__ == "Tracer" and kind.__module__.partition(".")[0] == "jax" for kind in kinds):
        return DTypeError(f"{what}, which JAX traces for jit, grad or vmap, but only what has numbers in it can be "
                          "computed with: call attn outside of what is traced, or through jax.pure_callback()")
    if not hasattr(given, "__dlpack__"):
        return DTypeError(f"{what}, but an array is needed: NumPy's, as numpy.asarray() makes them, or one with __dlpack__")
    if getattr(given, "requires_grad", False) is True:
        return DTypeError(f"{what} that requires grad: attn.torch has gradients; where none are wanted, give its .detach()")
    return DTypeError(f"{what} of {getattr(given, 'dtype', 'no dtype')} that cannot be looked at where it lies: {why}. "
                      "Nothing is copied or converted: .astype() does that, or .to() of a torch tensor")


def maybe(given: object, name: str) -> Array | None:
    return None if given is None else array_of(given, name)


def lengths_of(given: object, name: str) -> Array | None:
    """An array of whole numbers; of a list, which has no memory to look at, a new one."""
    if not isinstance(given, (list, tuple, range)):
        if given is not None and not hasattr(given, "__dlpack__"):
            raise DTypeError(f"{name} is {shown(given)}, but an array or a list of whole numbers is needed")
        return maybe(given, name)
    try:
        if {*map(type, given)} == {int}:
            return np.array(given, np.int64)
    except OverflowError:
        pass
    try:
        found = np.array(given, object)
        ragged = any(isinstance(entry, (list, tuple)) for entry in found.ravel())
    except ValueError:
        ragged = True
    if ragged:
        raise ShapeError(f"{name} is {shown(given)}, but its rows must be of one length")
    return np.array([integer(number, name) for number in found.ravel()], np.int64).reshape(found.shape)


def like(array: Array, given: object) -> Any:
    """array as what given is: over the same memory, by the library that given is of, or that what it inherits from is."""
    if given is None or isinstance(given, np.ndarray):
        return array
    for kind in type(given).__mro__:
        name = kind.__module__.partition(".")[0]
        library = sys.modules.get("jax.numpy" if name in ("jax", "jaxlib") else name)
        take = getattr(library, "from_dlpack", None)
        if take is not None:
            return take(_dlpack.given(array) if same(array.dtype) == bfloat16 else array)
    return array


class _Interface(Structure):
    """PyArrayInterface of NumPy's array interface protocol, version 3."""

    _fields_ = [("two", c_int), ("nd", c_int), ("typekind", c_char), ("itemsize", c_int), ("flags", c_int),
                ("shape", c_void_p), ("strides", c_void_p), ("data", c_void_p)]


_AT_DATA = _Interface.data.offset // sizeof(c_void_p)
_words_of = PYFUNCTYPE(POINTER(c_void_p), py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))
pointer_at, HEAD = c_void_p.from_address, object.__basicsize__


def _address_by_protocol(array: Array) -> int | None:
    capsule = array.__array_struct__  # which owns what is read, and must outlive it
    where: int | None = _words_of(capsule, None)[_AT_DATA]
    del capsule
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


def dimensions(array: Array, name: str, least: int = 1) -> Array:
    """array, if it has as many dimensions as are taken."""
    if not least <= array.ndim <= 4:
        raise ShapeError(f"{name} has {array.ndim} dimensions, but {least} to 4 are taken")
    return array


def view(array: Array, name: str) -> Tensor:
    """An attn_tensor over the array's memory, which lives as long as it does. The library judges shape and alignment."""
    taken = _TAKEN.get(name, REAL)
    dtype = taken.get(array.dtype)
    if dtype is None:
        dtype = _number(array.dtype, name, taken)
    ndim = array.ndim
    if ndim > 4:
        dimensions(array, name)
    size, strides = array.itemsize, array.strides
    if any([stride % size for stride in strides]):
        strides = _walked(array, name)
    tensor = Tensor(address(array), dtype, ndim, array.shape, tuple([stride // size for stride in strides]))
    tensor.array = array
    return tensor


def _number(dtype: DType, name: str, taken: Mapping[DType, int]) -> int:
    """The library's, of a type that is not in the table, but may be the same as one that is."""
    if same(dtype) in taken:
        return taken[same(dtype)]
    if taken in (REAL, STORED) and dtype in _BITS:
        raise DTypeError(f"{name} is {dtype}, but {names(taken)} is taken: where these are bits of bfloat16, "
                         ".view(attn.bfloat16) says so")
    raise DTypeError(f"{name} is {name_of(dtype)}, but {names(taken)} is taken, and nothing is converted: "
                     f".astype({next(iter(taken)).name!r}) does that, or .to() of a torch tensor")


def _walked(array: Array, name: str) -> tuple[int, ...]:
    """The strides, without those that nobody walks: there is no step along a dimension of size 1, nor in an empty array."""
    strides = tuple([stride if length > 1 and array.size else 0 for length, stride in zip(array.shape, array.strides)])
    if any([stride % array.itemsize for stride in strides]):
        raise ShapeError(f"{name} has strides of {array.strides} bytes, which are no multiples of its {array.itemsize}-byte "
                         "elements: give a copy, as array.copy() makes")
    return strides


def lay(args: Structure, tensors: Mapping[str, Array | None]) -> dict[str, Tensor]:
    """Views of the tensors that there are, for a struct's members of their names."""
    views = {name: view(array, name) for name, array in tensors.items() if array is not None}
    for name, tensor in views.items():
        setattr(args, name, pointer(tensor))
    return views


def writable(given: object, name: str) -> Array:
    array = array_of(given, name)
    if not array.flags.writeable:
        raise ArgumentError(f"{name} cannot be written to")
    return array
