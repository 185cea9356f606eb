# SPDX-License-Identifier: BSD-3-Clause
"""_values.py: what callers give besides arrays: whole numbers, numbers, yes or no, names; and how they get into the
library's structs. ctypes would cut what does not fit, and say in words of its own what it does not know."""

from __future__ import annotations

import ctypes
import functools
import operator
import reprlib
from collections.abc import Iterable, Mapping
from ctypes import Structure, c_double, c_int32, c_int64, c_uint32, c_uint64
from typing import Any, TypeVar

import numpy as np

from ._library import ArgumentError, DTypeError

_LIMITS: dict[Any, tuple[int, int]] = {
    kind: (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
    for kind, bits, unsigned in ((c_int32, 32, False), (c_int64, 64, False), (c_uint32, 32, True), (c_uint64, 64, True))}

AnyStruct = TypeVar("AnyStruct", bound=Structure)


def shown(given: object) -> str:
    """given as a sentence may quote it."""
    try:
        return reprlib.repr(given)
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(given).__name__} that is too long to print"


def integer(given: object, name: str, kind: Any = c_int64, least: int | None = None) -> int:
    """A whole number that fits where it goes: into a C integer of this kind, from least on."""
    if isinstance(given, (bool, np.bool_, np.ma.MaskedArray)):
        raise DTypeError(f"{name} is {shown(given)}, but a whole number is needed")
    try:
        number = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        raise DTypeError(f"{name} is {shown(given)}, but a whole number is needed") from None
    lowest, highest = _LIMITS[kind]
    lowest = lowest if least is None else least
    if not lowest <= number <= highest:
        raise ArgumentError(f"{name} is {shown(number)}, but {lowest} to {highest} is what it may be")
    return number


def real(given: object, name: str) -> float:
    """A number."""
    if type(given) is float:
        return given
    kind = type(given)
    if (hasattr(kind, "__float__") or hasattr(kind, "__index__")) and not isinstance(
            given, (np.complexfloating, np.ma.MaskedArray)) and getattr(given, "ndim", 0) == 0:
        try:
            return float(given)  # type: ignore[arg-type]
        except (OverflowError, TypeError, ValueError):
            pass
    raise DTypeError(f"{name} is {shown(given)}, but a number is needed")


def flag(given: object, name: str) -> bool:
    """Yes or no; not whatever Python takes for it, which a word always is."""
    if isinstance(given, (bool, np.bool_)) or type(given) is int and given in (0, 1):
        return bool(given)
    raise DTypeError(f"{name} is {shown(given)}, but True or False is needed")


def text(given: object, name: str) -> bytes:
    """A word as C has it."""
    if not isinstance(given, str) or "\0" in given:
        raise DTypeError(f"{name} is {shown(given)}, but a word is needed")
    return given.encode(errors="replace")


def chosen(wanted: object, known: Iterable[str]) -> set[str]:
    """The names that are wanted, of those that are known; None: all."""
    names = list(known)
    if wanted is None:
        return set(names)
    if isinstance(wanted, str) or not isinstance(wanted, Iterable):
        raise DTypeError(f"wanted is {shown(wanted)}, but a list of names is needed")
    return set(only(wanted, names, "wanted", "what was given"))


def only(given: Iterable[Any], known: Iterable[str], what: str, whose: str) -> list[str]:
    """The names that were given, if all of them are known."""
    names, given = list(known), list(given)
    for name in given:
        if name not in names:
            raise ArgumentError(f"{what} has {shown(name)}, but {whose} is {', '.join(map(repr, names)) or 'nothing'}")
    return given


def mapping(given: object, name: str) -> Mapping[str, Any]:
    """Arrays by their names; None: there are none."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise DTypeError(f"{name} is {shown(given)}, but a dict of arrays by their names is needed")
    return given


@functools.lru_cache(maxsize=None)
def _kinds(struct: type[Structure]) -> dict[str, Any]:
    return {field[0]: field[1] for field in struct._fields_}


def fill(struct: type[AnyStruct], **members: Any) -> AnyStruct:
    """The struct, its size among its members; numbers must be such, and fit."""
    kinds = _kinds(struct)
    for name, given in members.items():
        kind = kinds[name]
        if kind in _LIMITS:
            members[name] = integer(given, name, kind)
        elif kind is c_double:
            members[name] = real(given, name)
    return struct(struct_size=ctypes.sizeof(struct), **members)
