"""Overrides: settings as they are written on the command line, in Hydra's grammar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from autocomp.errors import ConfigError


def setting(key: str, value: object) -> str:
    """``key=value``; paths and lists of text keep whatever characters they have."""
    if isinstance(value, list):
        return f"{key}=[{','.join(_quoted(v) for v in value)}]"
    return f"{key}={_quoted(str(value)) if isinstance(value, Path) else value}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"


def parsed(settings: Sequence[str]) -> list[Override]:
    """The settings, understood.

    Raises:
        ConfigError: if one is not ``key=value``.
    """
    parser = OverridesParser.create()
    overrides = []
    for text in settings:
        try:
            overrides.append(parser.parse_override(text))
        except HydraException as error:
            raise ConfigError(f"A setting is written key=value, with quotes around special characters, but is '{text}'.") from error
        if overrides[-1].is_sweep_override():
            raise ConfigError(f"A setting has one value, but '{text}' has several; write a list as [a,b], and quote text that has a comma.")
    return overrides
