# SPDX-License-Identifier: BSD-3-Clause
"""_library.py: finds libattn and loads it; its constants, and its failures as exceptions.

The library is looked for, in this order:
    1. where the environment variable ATTN_LIBRARY says: a file;
    2. where this is a source tree, in its build tree: build/release/src, or the newest other build/*/src;
    3. in the lib of the prefix that Python is in, as of a virtual environment;
    4. where the dynamic linker looks, by its SONAME: the library of this binary interface, whatever others there are."""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import byref, c_int32, c_int64
from pathlib import Path
from typing import Any

from ._abi import ABI, STRUCTS, declare

SONAME = f"libattn.so.{ABI}"


class Error(Exception):
    """A call that libattn, or this binding, refused. str() is the sentence; status is the name of the library's status."""

    usual_status = "ATTN_ERR_ARGUMENT"

    def __init__(self, sentence: str, status: str | None = None):
        super().__init__(sentence)
        self.status = status or self.usual_status

    def __reduce__(self) -> tuple[Any, ...]:
        """An exception is copied and pickled by its arguments, of which Exception knows the first alone."""
        return type(self), (*self.args, self.status), self.__dict__


class ArgumentError(Error, ValueError):
    """A value that is missing or outside its range; a parameter that the mechanism has not, or that is not bound."""


class ShapeError(Error, ValueError):
    """Shapes that do not fit together."""

    usual_status = "ATTN_ERR_SHAPE"


class DTypeError(Error, TypeError):
    """A type that is not taken there: of elements, or of an argument."""

    usual_status = "ATTN_ERR_DTYPE"


class OutOfMemoryError(Error, MemoryError):
    """Memory that there is not."""

    usual_status = "ATTN_ERR_NOMEM"


class UnsupportedError(Error, NotImplementedError):
    """Well formed, but not in this version of the library, or not on this machine."""

    usual_status = "ATTN_ERR_UNSUPPORTED"


_ERRORS: dict[str, type[Error]] = {
    "ATTN_ERR_ARGUMENT": ArgumentError, "ATTN_ERR_PARAMETER": ArgumentError, "ATTN_ERR_OVERLAP": ArgumentError,
    "ATTN_ERR_SHAPE": ShapeError, "ATTN_ERR_DTYPE": DTypeError, "ATTN_ERR_NOMEM": OutOfMemoryError,
    "ATTN_ERR_UNSUPPORTED": UnsupportedError}


def _find() -> str:
    named = os.environ.get("ATTN_LIBRARY")
    if named:
        return named
    *_, root = Path(__file__).resolve().parents[:4]
    if (root / "include" / "attn" / "attn.h").exists():
        release = root / "build" / "release" / "src" / "libattn.so"
        if release.exists():
            return str(release)
        others = sorted(root.glob("build/*/src/libattn.so"), key=lambda path: path.stat().st_mtime)
        if others:
            return str(others[-1])
    beside = Path(sys.prefix) / "lib" / SONAME
    if beside.exists():
        return str(beside)
    return SONAME


def _load() -> tuple[str, ctypes.CDLL]:
    path = _find()
    try:
        library = ctypes.CDLL(path)
    except OSError as why:
        raise ImportError(f"libattn was not found: build it, install it, or name its file in ATTN_LIBRARY ({why})") from why
    library.attn_abi_version.restype = c_int32
    got = library.attn_abi_version()
    if got != ABI:
        raise ImportError(f"{path} has the binary interface {got}, but this binding is written for {ABI}")
    declare(library)
    return path, library


PATH, lib = _load()


def check(status: int) -> None:
    """Raises what the library says of a failure; a status of 0 is none."""
    if status:
        name = lib.attn_status_string(status).decode().partition(":")[0]
        raise _ERRORS.get(name, Error)(lib.attn_last_error().decode(errors="replace"), name)


def constant(name: str) -> int:
    """The number of any ATTN_ constant, from the library itself."""
    value = c_int64()
    check(lib.attn_constant(name.encode(), byref(value)))
    return value.value


for _name, _struct in STRUCTS.items():
    _size = constant(f"sizeof attn_{_name}")
    if _size != ctypes.sizeof(_struct):
        raise ImportError(f"{PATH} has another attn_{_name} than this binding, of {_size} bytes, not "
                          f"{ctypes.sizeof(_struct)}")
