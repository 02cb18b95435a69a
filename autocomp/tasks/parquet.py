"""Images and labels out of Parquet files in the layout of dataset hubs: a column of encoded images and one of integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from autocomp.errors import DataError
from autocomp.tasks.shards import Shard, first_line

BATCH = 1024
"""Rows read at a time."""


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None means: find out.

    Args:
        image: a struct ``{bytes, path}`` or plain bytes.
        label: integers.
    """

    image: str | None = None
    label: str | None = None


def read(shard: Shard, columns: Columns) -> Iterator[tuple[int, list[bytes | None], list[int | None]]]:
    """First row, encoded images and labels of each batch of rows.

    Raises:
        DataError: the file is corrupt, or the columns are missing or of another type.
    """
    try:
        with shard.filesystem.open_input_file(shard.path) as source:
            file = pq.ParquetFile(source)
            image, label = image_column(shard, file.schema_arrow, columns.image), label_column(shard, file.schema_arrow, columns.label)
            row = 0
            for batch in file.iter_batches(BATCH, columns=[image, label]):
                yield row, _encoded(batch.column(image)), batch.column(label).to_pylist()
                row += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The Parquet file '{shard.path}' cannot be read: {first_line(error)}") from None


def image_column(shard: Shard, schema: Any, name: str | None) -> str:
    """The column of encoded images: the one named, or the first that can be one.

    Raises:
        DataError: there is none; the message names those there are.
    """
    fitting = [field.name for field in schema if _holds_bytes(field.type)]
    if name is not None and name not in fitting:
        raise DataError(f"Column '{name}' of '{shard.path}' holds no images; {_there_are(schema)}; set task.image_column.")
    if not fitting:
        raise DataError(f"Images must be a column of bytes or {{bytes, path}}, but '{shard.path}' has none; {_there_are(schema)}.")
    return name or fitting[0]


def label_column(shard: Shard, schema: Any, name: str | None) -> str:
    """The column of labels: the one named, else "label", else the only column of integers.

    Raises:
        DataError: there is none, there are several, or it does not hold integers.
    """
    if name is None and "label" in schema.names:
        name = "label"
    if name is not None:
        if name not in schema.names or not types.is_integer(schema.field(name).type):
            raise DataError(f"Column '{name}' of '{shard.path}' holds no integer labels; {_there_are(schema)}; set task.label_column.")
        return name
    fitting = [field.name for field in schema if types.is_integer(field.type)]
    if len(fitting) != 1:
        found = f"{len(fitting)} columns of integers" if fitting else "no column of integers"
        raise DataError(f"'{shard.path}' has {found} to be the labels; {_there_are(schema)}; set task.label_column.")
    return str(fitting[0])


def _holds_bytes(kind: Any) -> bool:
    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _there_are(schema: Any) -> str:
    return "its columns are " + ", ".join(f"{field.name} ({'struct' if types.is_struct(field.type) else field.type})" for field in schema)


def _encoded(column: Any) -> list[bytes | None]:
    encoded: list[bytes | None] = (column.field("bytes") if types.is_struct(column.type) else column).to_pylist()
    return encoded
