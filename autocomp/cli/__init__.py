"""The command line: the only part that prints, and the only one that knows Hydra.

Modules are imported inside the verbs that need them, so that `autocomp --help` does not wait for torch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from autocomp.cli.verbs import app
from autocomp.errors import AutocompError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; None for the process's own.

    Returns:
        The exit code: 0 done, 1 the run failed, 2 the request cannot be carried out as given, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return app(args=arguments or ["--help"], prog_name="autocomp", standalone_mode=False) or 0  # a verb returns nothing
    except Exception as error:
        if os.environ.get("AUTOCOMP_DEBUG"):
            raise
        message, code = explain(error)
        typer.echo(f"autocomp: error: {message}", err=True)
        return code


def explain(error: Exception) -> tuple[str, int]:
    """One line about an error, and the exit code that it stands for."""
    if isinstance(error, AutocompError):
        message, code = str(error), error.exit_code
    elif isinstance(error, typer.TyperException):
        message, code = error.format_message(), error.exit_code
    else:
        from hwmodels import HardwareError

        if isinstance(error, HardwareError):
            message, code = str(error), 2
        else:
            message, code = f"{type(error).__name__}: {error} (unexpected; AUTOCOMP_DEBUG=1 shows where)", 1
    return " ".join(message.split()), code
