"""Errors that a user can cause; each message is one line: the rule, the values, the way out.

AutocompError                    exit code 1: the run failed
├── UnreachableLimitError        no configuration meets a limit
└── UsageError                   exit code 2: the request cannot be carried out as it was given
    ├── UnknownNameError         a name that is not in its list
    ├── ConfigError              a setting that is unknown, of the wrong type or out of range
    ├── DataError                a data set that is missing or malformed
    ├── CheckpointError          weights that do not fit the network
    └── ClusterError             a cluster that has no room for the run
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutocompError(Exception):
    """Base of every error that autocomp raises on purpose."""

    exit_code = 1


class UnreachableLimitError(AutocompError):
    """No configuration meets a limit; the message names the limit and the closest value seen."""


class UsageError(AutocompError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, has the wrong type or lies out of range."""


class DataError(UsageError):
    """A data set is missing or malformed."""


class CheckpointError(UsageError):
    """Weights do not fit the network that they were given for."""


class ClusterError(UsageError):
    """The cluster has no room for the run."""


class UnknownNameError(UsageError):
    """A name is not in its list; says what was probably meant, what there is, and what else can be done."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        meant = f" Did you mean '{close[0]}'?" if close else ""
        super().__init__(f"There is no {kind} '{name}'.{meant} Known: {', '.join(names)}.{hint}")
