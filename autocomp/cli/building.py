"""Building: from the parts of a configuration to the objects that they name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from autocomp.errors import AutocompError, ConfigError
from hwmodels import HardwareError


def build(config: Mapping[str, Any], part: str) -> Any:
    """What a part of the configuration names by its `_target_`.

    Raises:
        ConfigError: if there is no such class, or it does not take the arguments.
        AutocompError, HardwareError: what the class itself finds wrong.
    """
    try:
        return instantiate(config[part], _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, (AutocompError, HardwareError)):
            raise cause from None
        raise ConfigError(f"`{part}` cannot be built from its settings: {cause or error}") from error


def build_searcher(config: Mapping[str, Any]) -> Callable[..., Any]:
    """What makes the searcher from its problem; where the run and the searcher's own settings differ, the latter count.

    Raises:
        ConfigError: if there is no such class, or it does not take the arguments.
    """
    searcher = build(config, "searcher")
    if not isinstance(searcher, partial):
        raise ConfigError("`searcher` must have `_partial_: true`, because a search gives it its problem.")
    try:
        inspect.signature(searcher.func).bind(**{"problem": None, "seed": 0, "trials": 1, **searcher.keywords})
    except TypeError as error:
        raise ConfigError(f"`searcher` cannot be built from its settings: {error}.") from error
    return lambda **given: searcher(**{**given, **searcher.keywords})
