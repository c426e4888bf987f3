"""Methods whose answers are kept, with the object that gave them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

_S = TypeVar("_S")
_P = ParamSpec("_P")
_T = TypeVar("_T")


def once(method: Callable[Concatenate[_S, _P], _T]) -> Callable[Concatenate[_S, _P], _T]:
    """Evaluate a method once for each of its arguments."""
    name = f"_kept_{method.__name__}"

    @wraps(method)
    def found(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        assert not kwargs
        known: dict[Any, _T] = self.__dict__.setdefault(name, {})
        if args not in known:
            known[args] = method(self, *args, **kwargs)
        return known[args]

    return found
