"""The way to MLflow: addresses, a quiet client, page by page, one line per error."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Read by MLflow when it is imported; a user's own setting wins. MLflow's default of 7 retries of 120 s would stop a search for minutes.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "GIT_PYTHON_REFRESH": "quiet",
}


def database_file(uri: str) -> Path | None:
    """The absolute path of the file behind an sqlite URL; None for any other URI."""
    if not uri.startswith("sqlite:"):
        return None
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database or "").resolve()


def absolute(uri: str) -> str:
    """The same address from every directory."""
    path = database_file(uri)
    return f"sqlite:///{path}" if path else uri


def public(text: str) -> str:
    """Text without the password of an address in it."""
    return re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)


def connect(uri: str) -> MlflowClient:
    """A quiet client. An sqlite database is created and migrated where it is missing."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    path = database_file(uri)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy 2.1 deprecates what the tables of MLflow 3.17 use
        from mlflow import MlflowClient

        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # would write a line for each retry
        return MlflowClient(absolute(uri), absolute(uri))


def pages(search: Callable[..., Any], *query: Any) -> Iterator[Any]:
    """Everything that one of the client's searches finds, page by page."""
    page = search(*query)
    yield from page
    while page.token:
        page = search(*query, page_token=page.token)
        yield from page


def first_line(error: BaseException) -> str:
    """An error as one line without a password; the messages of MLflow and SQLAlchemy have many."""
    return public(str(error).strip().partition("\n")[0])
