# SPDX-License-Identifier: BSD-3-Clause
"""_dlpack.py: bfloat16 through __dlpack__. NumPy knows it neither as it comes nor as it goes, but has numbers of as many
bits: the tensor that is handed over, which is the taker's own, is said to be of those, or no longer to be."""

from __future__ import annotations

from ctypes import PYFUNCTYPE, Structure, c_char_p, c_int32, c_uint8, c_uint16, c_void_p, py_object, pythonapi
from typing import Any

import numpy as np

from ._dtypes import bfloat16

_UNSIGNED, _BFLOAT = 1, 4  # kDLUInt, kDLBfloat


class _Tensor(Structure):
    """What of DLPack's DLTensor comes first."""

    _fields_ = [("data", c_void_p), ("device_type", c_int32), ("device_id", c_int32), ("ndim", c_int32), ("code", c_uint8),
                ("bits", c_uint8), ("lanes", c_uint16)]


# Where it lies in what a capsule of this name holds: a DLManagedTensor, or a DLManagedTensorVersioned, after its version,
# the manager's two pointers, and flags.
_PLACES = {b"dltensor": 0, b"dltensor_versioned": 32}
_name_of = PYFUNCTYPE(c_char_p, py_object)(("PyCapsule_GetName", pythonapi))
_held_by = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))


class _Renamed:
    """An array whose elements of 16 bits are of another kind to those who ask for it by __dlpack__."""

    def __init__(self, array: Any, was: int, now: int):
        self.array, self.was, self.now = array, was, now

    def __dlpack__(self, *given: Any, **named: Any) -> Any:
        capsule = self.array.__dlpack__(*given, **named)
        name = _name_of(capsule)
        if name not in _PLACES:
            raise BufferError("what __dlpack__ gave is no capsule of DLPack's")
        tensor = _Tensor.from_address(_held_by(capsule, name) + _PLACES[name])
        if (tensor.code, tensor.bits, tensor.lanes) != (self.was, 16, 1):
            raise BufferError("these are other elements")
        tensor.code = self.now
        return capsule

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def taken(tensor: Any) -> Any:
    """Somebody's bfloat16 as an array over the same memory; a BufferError where that is not what it is of."""
    return np.from_dlpack(_Renamed(tensor, _BFLOAT, _UNSIGNED)).view(bfloat16)


def given(array: Any) -> Any:
    """An array of bfloat16 as what from_dlpack() of other libraries takes."""
    return _Renamed(array.view(np.uint16), _UNSIGNED, _BFLOAT)
