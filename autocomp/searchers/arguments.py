"""Arguments of searchers: what is wrong with them is said before anything is built by them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from autocomp.errors import ConfigError

PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a name", NoneType: "null"}


def check(made: Callable[..., Any], settings: Mapping[str, Any], *given: Any, **usual: Any) -> None:
    """Raise a `ConfigError` unless a class or function takes these arguments.

    Args:
        made: the class or function.
        settings: what a user set; where an annotation is made of plain types alone, the value must be of one of them.
        given: what it gets besides; the settings may not set that.
        usual: what it gets unless the settings say otherwise.
    """
    signature = _signature(made)
    for name in [name for name in list(signature.parameters)[: len(given)] if name in settings]:
        raise ConfigError(f"`searcher.{name}` cannot be set, because a search gives it its {name}.")
    try:
        signature.bind(*given, **{**usual, **settings})
    except TypeError as error:
        raise ConfigError(f"`searcher` cannot be built from its settings: {error}.") from error
    for name, value in settings.items():
        annotation = signature.parameters[name].annotation if name in signature.parameters else Any
        kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        if all(kind in PLAIN for kind in kinds) and not _fits(value, kinds):
            raise ConfigError(f"`searcher.{name}` must be {' or '.join(PLAIN[kind] for kind in kinds)}, but is {value!r}.")


def _signature(made: Callable[..., Any]) -> inspect.Signature:
    """With annotations as types, where they are there at run time."""
    try:
        return inspect.signature(made, eval_str=True)
    except NameError:
        return inspect.signature(made)


def _fits(value: object, kinds: tuple[Any, ...]) -> bool:
    """Whether a value is of one of some plain types; a whole number is a number, and true is neither."""
    return type(value) in kinds or (type(value) is int and float in kinds)


def at_least(low: float, **values: float | None) -> None:
    """Raise a `ConfigError` if an argument is below its least value; None stands for one that is chosen later."""
    for name, value in values.items():
        if value is not None and value < low:
            raise ConfigError(f"`searcher.{name}` must be at least {low}, but is {value}.")
