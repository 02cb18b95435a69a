"""The CSV form of a layer table: one layer a row, named columns, ``#`` lines for the source."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Final

from hwmodels.errors import WorkloadError
from hwmodels.workload import WIDEST, Op, Pattern, Workload

_REQUIRED: Final = ("layer", "in_channels", "out_channels")
_CODES: Final[dict[str, type[Op] | type[Pattern]]] = {"op": Op, "pattern": Pattern}
_FRACTIONS: Final = frozenset({"weight_density", "activation_density"})
_WIDTHS: Final = frozenset({"weight_bits", "activation_bits"})
_FROM_ZERO: Final = frozenset({"index_bits", "codebook", "fused", "block"})
_LARGEST: Final = 2**31 - 1
_FACTORS: Final = ("batch", "repeats", "in_channels", "out_channels", "kernel_h", "kernel_w", "out_h", "out_w")  # of a layer's MACs
_MOST_MACS: Final = 2**53  # counts stay exact in 64-bit integers and floats

Row = dict[str, Any]


def read_table(path: str | Path) -> Workload:
    """The workload that a CSV file describes, one layer a row, in execution order.

    Columns are ``layer`` and the fields of `Workload`, of which ``in_channels`` and ``out_channels`` must be there; ``op`` is
    ``conv`` or ``linear``. A missing column or an empty cell takes the field's default: one image, one group, a 1x1 map and
    kernel, stride 1, 32 bits, dense. Lines that begin with ``#`` are comments; the first one says what the network is.

    Raises:
        WorkloadError: one line with file, line, column, value and rule, if the file cannot be read or a value breaks a rule.
    """
    file = Path(path)
    lines = _data_lines(file)
    _, header = next(lines, (0, []))
    _check_header(file, header)
    rows = {number: _row(file, number, header, cells) for number, cells in lines}
    if not rows:
        raise WorkloadError(f"Layer table {file} has no layers below its header; give one layer a row.")
    _check_names(file, rows)
    _check_sizes(file, rows)
    try:
        return _workload(list(rows.values()))
    except WorkloadError:  # a rule between two columns
        for number, row in rows.items():
            try:
                _workload([row])
            except WorkloadError as error:
                raise WorkloadError(f"{file}, line {number}: {error}") from None
        raise


def description_of(path: Path) -> str:
    """The first comment line of a table, without its mark; empty where there is none."""
    first = next((line for line in _lines(path) if line.strip()), "")
    return first[1:].strip() if first.startswith("#") else ""


@cache
def _defaults() -> Row:
    """Column to default value, from the workload's own fields, in their order."""
    return {f.name: f.default_factory().item() for f in fields(Workload) if callable(f.default_factory)}


def _workload(rows: list[Row]) -> Workload:
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    return Workload(names=tuple(columns.pop("layer")), **columns)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"Layer table {path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}.") from None


def _data_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of every line that is neither blank nor a comment."""
    for number, line in enumerate(_lines(path), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, [cell.strip() for cell in next(csv.reader([line]))]


def _check_header(path: Path, header: list[str]) -> None:
    known = ("layer", *(f.name for f in fields(Workload) if f.name != "names"))
    for column in header:
        if column not in known:
            raise WorkloadError(f"Layer table {path} has an unknown column `{column}`; known are {', '.join(known)}.")
        if header.count(column) > 1:
            raise WorkloadError(f"Layer table {path} has the column `{column}` twice; keep one.")
    for column in _REQUIRED:
        if column not in header:
            raise WorkloadError(
                f"Layer table {path} has no column `{column}`; the first line names the columns, {', '.join(_REQUIRED)} at least."
            )


def _check_names(path: Path, rows: dict[int, Row]) -> None:
    first: dict[str, int] = {}
    for number, row in rows.items():
        earlier = first.setdefault(row["layer"], number)
        if earlier != number:
            raise WorkloadError(f"{path}, line {number}: `layer` must be unique, but '{row['layer']}' is on line {earlier} too.")


def _check_sizes(path: Path, rows: dict[int, Row]) -> None:
    for number, row in rows.items():
        macs = prod(row.get(factor, 1) for factor in _FACTORS)
        if macs > _MOST_MACS:
            raise WorkloadError(
                f"{path}, line {number}: a layer must take at most 2^53 MACs per pass, but '{row['layer']}' takes {macs:.1e}."
            )


def _row(path: Path, number: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise WorkloadError(f"{path}, line {number}: a row must have {len(header)} values, one a column, but has {len(cells)}.")
    return {column: _Cell(path, number, column, text).value() for column, text in zip(header, cells, strict=True)}


@dataclass(frozen=True)
class _Cell:
    """One value as text, and where it stands."""

    path: Path
    line: int
    column: str
    text: str

    def value(self) -> Any:
        """The value in the type of its column."""
        if not self.text:
            if self.column in _REQUIRED:
                raise self._broken("must be given")
            return _defaults()[self.column]
        if self.column == "layer":
            return self.text
        if self.column in _CODES:
            return self._code(_CODES[self.column])
        return self._fraction() if self.column in _FRACTIONS else self._count()

    def _code(self, codes: type[Op] | type[Pattern]) -> int:
        by_name = {code.name.lower(): int(code) for code in codes}
        if self.text.lower() not in by_name:
            raise self._broken(f"must be one of {', '.join(by_name)}")
        return by_name[self.text.lower()]

    def _fraction(self) -> float:
        try:
            value = float(self.text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise self._broken("must be a number in [0, 1]")
        return value

    def _count(self) -> int:
        low = 0 if self.column in _FROM_ZERO else 1
        high = WIDEST if self.column in _WIDTHS else _LARGEST
        value = int(self.text) if self.text.isascii() and self.text.isdigit() else -1
        if not low <= value <= high:
            raise self._broken(f"must be a whole number from {low} to {high}")
        return value

    def _broken(self, rule: str) -> WorkloadError:
        return WorkloadError(f"{self.path}, line {self.line}: `{self.column}` {rule}, but is '{self.text}'.")
