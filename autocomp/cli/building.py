"""Building: from the parts of a configuration to the objects that they name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


def build_searcher(config: Mapping[str, Any]) -> SearcherRecipe:
    """What makes the searcher from its problem; where the run and the searcher's own settings differ, the latter count.

    Raises:
        ConfigError: if there is no such class, or it does not take the arguments or their types.
    """
    from autocomp.searchers.arguments import check  # which imports torch

    searcher = build(config, "searcher")
    if not isinstance(searcher, partial):
        raise ConfigError("`searcher` must have `_partial_: true`, because a search gives it its problem.")
    check(searcher.func, searcher.keywords, None, seed=0, trials=1)
    return SearcherRecipe(searcher)


@dataclass(frozen=True)
class SearcherRecipe:
    """Makes a searcher; what the configuration says counts more than what the run says."""

    configured: partial[Any]

    @property
    def uses_profile(self) -> bool:
        """Whether it makes use of a sensitivity profile; its class says so, unless ``surrogate: false`` or a preset leaves it no use."""
        settings = self.configured.keywords
        has_use = settings.get("surrogate", True) is not False and not settings.get("preset")
        return has_use and bool(getattr(self.configured.func, "uses_profile", False))

    def __call__(self, **given: Any) -> Any:
        """The searcher of a problem."""
        return self.configured(**{**given, **self.configured.keywords})
