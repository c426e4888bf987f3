"""Methods whose answers are kept, with the object that gave them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

_S = TypeVar("_S")
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Once(Generic[_S, _P, _T]):
    """A method that an object replaces by one with a memory when it is first asked for it."""

    def __init__(self, method: Callable[Concatenate[_S, _P], _T]) -> None:
        self.method, self.name = method, method.__name__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: _S, owner: Any = None) -> Callable[_P, _T]:
        found = cast("Callable[_P, _T]", cache(self.method.__get__(instance)))
        instance.__dict__[self.name] = found
        return found


def once(method: Callable[Concatenate[_S, _P], _T]) -> _Once[_S, _P, _T]:
    """Evaluate a method once for each of its arguments, by position."""
    return _Once(method)
