"""Arguments of searchers: what is wrong with them is said before anything is built by them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from os import PathLike
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from autocomp.errors import ConfigError

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a name", NoneType: "null"}


def check(made: Callable[..., Any], settings: Mapping[str, Any], *given: Any, **usual: Any) -> None:
    """Raise a `ConfigError` unless a class or function takes these arguments.

    Args:
        made: the class or function.
        settings: what a user set; a value must be of one of the types of its annotation. A name may stand for a path or a member of an
            enumeration, a list for any collection, and what is not annotated by types is left to the class.
        given: what it gets besides; the settings may not set that.
        usual: what it gets unless the settings say otherwise.
    """
    signature = _signature(made)
    taken = set(list(signature.parameters)[: len(given)]) & settings.keys()
    if taken:
        raise ConfigError(f"`searcher.{min(taken)}` cannot be set, because a search gives it its {min(taken)}.")
    try:
        signature.bind(*given, **{**usual, **settings})
    except TypeError as error:
        raise ConfigError(f"`searcher` cannot be built from its settings: {error}.") from error
    for name, value in settings.items():
        annotation = signature.parameters[name].annotation if name in signature.parameters else Any
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        if not any(_fits(value, kind) for kind in kinds):
            raise ConfigError(f"`searcher.{name}` must be {' or '.join(map(_said, kinds))}, but is {value!r}.")


def _signature(made: Callable[..., Any]) -> inspect.Signature:
    """With annotations as types, where they are there at run time."""
    try:
        return inspect.signature(made, eval_str=True)
    except NameError:
        return inspect.signature(made)


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of a type, as far as a configuration can say it; a whole number is a number, and true is neither."""
    if kind in PLAIN:
        return type(value) is kind or (type(value) is int and kind is float)
    made = get_origin(kind) or kind
    spelt = (PathLike, Enum) if isinstance(value, str) else (Collection,) if isinstance(value, list) else ()
    try:
        return made in (Annotated, inspect.Parameter.empty) or isinstance(value, made) or issubclass(made, spelt)
    except TypeError:  # no type, or one that does not know its instances
        return True


def _said(kind: Any) -> str:
    return PLAIN.get(kind) or f"a {(get_origin(kind) or kind).__name__}"


def at_least(low: float, **values: float | None) -> None:
    """Raise a `ConfigError` if an argument is below its least value; None stands for one that is chosen later."""
    for name, value in values.items():
        if value is not None and not value >= low:  # NaN is not
            raise ConfigError(f"`searcher.{name}` must be at least {low}, but is {value}.")
