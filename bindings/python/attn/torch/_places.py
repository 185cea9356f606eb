# SPDX-License-Identifier: BSD-3-Clause
"""_places.py: puts functions into the places of torch's, and takes them away again, among others who do so too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import torch.jit._builtins

Function = Callable[..., Any]
_builtins: Any = torch.jit._builtins


class Place:
    """A name in one of torch's modules. make(below) gives the function that is to be there, for one that was there
    before, whichever it is: what it does not do itself is left to that. What is compiled or scripted meanwhile has the
    one from before, whole."""

    def __init__(self, module: ModuleType, name: str, make: Callable[[Function], Function]):
        self.module, self.name, self.make = module, name, make
        self._below: Function | None = None
        self._ours: Function | None = None

    def put(self) -> None:
        if self._ours is not None:
            return
        below: Function = getattr(self.module, self.name)
        work = self.make(below)

        @functools.wraps(below)
        def ours(*given: Any, **named: Any) -> Any:
            if torch.compiler.is_compiling() or self._ours is not ours:
                return below(*given, **named)
            return work(*given, **named)

        self._below, self._ours = below, ours
        builtin = _builtins._find_builtin(below)
        if builtin is not None:  # so that torch.jit.script takes it for the operation that is below
            _builtins._register_builtin(ours, builtin)
        setattr(self.module, self.name, ours)

    def clear(self) -> None:
        """Whoever has put another function there since keeps it; where that goes on to ours, it comes through to the
        one below."""
        ours, self._ours = self._ours, None
        if ours is None:
            return
        _builtins._get_builtin_table().pop(id(ours), None)
        if getattr(self.module, self.name) is ours:
            setattr(self.module, self.name, self._below)
        self._below = None
