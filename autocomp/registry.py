"""Registry: the registered models of an MLflow database or server, read and brought back as files."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocomp.connection import connect, database_file, first_line, pages, public
from autocomp.errors import UnknownNameError, UsageError
from autocomp.files import new_folder
from autocomp.tracking import BEST, VERSION_METRICS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

REFERENCE = re.compile(r"(?:models:/)?(?P<name>[^@:/]+)(?:@(?P<alias>[^@:/]+)|[:/](?P<version>\d+))?")
PICKLE_SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"


def list_models(uri: str) -> list[dict[str, Any]]:
    """Every version that a search registered, newest first, as plain rows.

    A row has ``name``, ``version``, ``aliases``, ``trial``, ``task``, ``hw``, ``metrics`` and ``created`` (UTC, ISO 8601).

    Raises:
        UsageError: if there is no database, or the server does not answer.
    """
    with _reading(uri) as client:
        aliases = {name: model.aliases for name, model in _models(client).items()}
        versions = [version for version in pages(client.search_model_versions) if "trial" in version.tags]
    versions.sort(key=lambda v: (-v.creation_timestamp, v.name, -int(v.version)))
    return [_row(v, [a for a, number in aliases[v.name].items() if int(number) == int(v.version)]) for v in versions]


def pull(reference: str, *, uri: str, out: Path) -> Path:
    """Bring a registered model back as files that load without autocomp.

    Args:
        reference: ``NAME`` for the best, ``NAME@ALIAS`` or ``NAME:VERSION``.
        uri: of the database or server.
        out: folder for the files, new or empty.

    Returns:
        The folder.

    Raises:
        UnknownNameError: if the model, its alias or its version does not exist.
        UsageError: if the reference is malformed, the folder is not empty, or the database cannot be read.
    """
    with new_folder(out) as part, tempfile.TemporaryDirectory() as scratch, _reading(uri) as client:
        version = _find(client, reference)
        from mlflow.artifacts import download_artifacts

        source = client.get_model_version_download_uri(version.name, version.version)
        got = download_artifacts(artifact_uri=source, dst_path=scratch, tracking_uri=uri)
        shutil.copytree(got, part, dirs_exist_ok=True)
    return out


@contextmanager
def _reading(uri: str) -> Iterator[MlflowClient]:
    """A client that creates no database and unpickles nothing."""
    path = database_file(uri)
    if path and not path.is_file():
        raise UsageError(f"There is no MLflow database at {path}; `autocomp search` writes one, `tracking.uri` names another.")
    before = os.environ.get(PICKLE_SWITCH)
    os.environ[PICKLE_SWITCH] = "false"
    try:
        yield connect(uri)
    except UsageError:
        raise
    except Exception as error:  # whatever a database, a server or an object store raises
        raise UsageError(f"The models at {public(uri)} cannot be read: {first_line(error)}") from error
    finally:
        del os.environ[PICKLE_SWITCH]
        if before is not None:
            os.environ[PICKLE_SWITCH] = before


def _models(client: MlflowClient) -> dict[str, RegisteredModel]:
    return {model.name: model for model in pages(client.search_registered_models)}


def _find(client: MlflowClient, reference: str) -> ModelVersion:
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise UsageError(f"A model is named NAME, NAME@ALIAS or NAME:VERSION, but got '{reference}'.")
    models = _models(client)
    name = match["name"]
    if name not in models:
        raise UnknownNameError("registered model", name, models)
    if match["version"]:
        return _numbered(client, name, int(match["version"]))
    alias = match["alias"] or BEST
    if alias not in models[name].aliases:
        raise UnknownNameError(f"alias of the model '{name}',", alias, models[name].aliases)
    return _numbered(client, name, int(models[name].aliases[alias]))


def _numbered(client: MlflowClient, name: str, number: int) -> ModelVersion:
    versions = {int(v.version): v for v in pages(client.search_model_versions, f"name = '{name}'")}
    if number not in versions:
        raise UnknownNameError(f"version of the model '{name}',", str(number), map(str, versions))
    return versions[number]


def _row(version: ModelVersion, aliases: list[str]) -> dict[str, Any]:
    tags = version.tags
    return {
        "name": version.name,
        "version": int(version.version),
        "aliases": sorted(aliases),
        "trial": int(tags["trial"]),
        "task": tags.get("task", ""),
        "hw": tags.get("hw", ""),
        "metrics": {name: float(tags[name]) for name in VERSION_METRICS if name in tags},
        "created": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
    }
