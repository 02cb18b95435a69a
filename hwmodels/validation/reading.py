"""Reading published rows from CSV files: those of the package, or one of the user's own."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from hwmodels.errors import HardwareError
from hwmodels.validation.rows import PublishedRow

FAMILIES: Final = ("fpga", "asic", "rram")
_FOLDER: Final = Path(__file__).parent.parent / "published"
_REQUIRED: Final = ("id", "family", "system", "metric", "unit", "value")
_TEXTS: Final = ("paper", "device_tech", "network", "layer", "precision_bits", "PEs_or_MACs_or_DSPs", "onchip_KB", "source", "confidence")
_NUMBERS: Final = ("batch", "clock_MHz", "bandwidth_GBps")  # may carry a remark behind the number: "150 (recalled)"
_COLUMNS: Final = (*_REQUIRED, *_TEXTS, *_NUMBERS, "other_params")
_LEADING_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")


class RowError(HardwareError):
    """A file of published rows breaks a rule of the format."""


@dataclass(frozen=True)
class _Line:
    """One record and where it stands, for the message."""

    path: Path
    number: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def wrong(self, column: str, rule: str) -> RowError:
        return RowError(f"{self.path}, line {self.number}: `{column}` {rule}, but is '{self.text(column)}'.")


def published_rows(family: str | None = None) -> tuple[PublishedRow, ...]:
    """The rows that are shipped with this package, of one family or of all."""
    return tuple(row for name in FAMILIES if family in {None, name} for row in read_rows(_FOLDER / f"{name}.csv"))


def read_rows(path: str | Path) -> tuple[PublishedRow, ...]:
    """The rows of a CSV file whose columns are described in ``hwmodels/published/README.md``.

    Raises:
        RowError: one line with file, line, column, value and rule, if the file cannot be read or a cell breaks a rule.
    """
    lines = list(_lines(Path(path)))
    seen: dict[str, int] = {}
    for line in lines:
        name = line.text("id")
        if name in seen:
            raise RowError(f"{line.path}, line {line.number}: `id` must be unique, but '{name}' stands on line {seen[name]} too.")
        seen[name] = line.number
    return tuple(map(_row, lines))


def _lines(path: Path) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [column.strip() for column in next(reader, [])]
            _check_header(path, header)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise RowError(f"{path}, line {reader.line_num}: a row must have {len(header)} cells, but has {len(cells)}.")
                yield _Line(path, reader.line_num, dict(zip(header, cells, strict=True)))
    except OSError as error:
        raise RowError(f"File of published rows {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise RowError(f"File of published rows {path} cannot be read: it is not UTF-8 text.") from None
    except csv.Error as error:
        raise RowError(f"{path}, line {reader.line_num}: the line is not CSV ({error}).") from None


def _check_header(path: Path, header: Sequence[str]) -> None:
    missing = [column for column in _REQUIRED if column not in header]
    if missing:
        raise RowError(f"{path}, line 1: the header must name {', '.join(_REQUIRED)}, but has no `{missing[0]}`.")
    for column in header:
        if column not in _COLUMNS:
            close = get_close_matches(column, _COLUMNS, n=1, cutoff=0.5)
            hint = f" (did you mean `{close[0]}`?)" if close else ""
            raise RowError(f"{path}, line 1: unknown column `{column}`{hint}; known are {', '.join(_COLUMNS)}.")
        if header.count(column) > 1:
            raise RowError(f"{path}, line 1: the column `{column}` stands there twice; keep one.")


def _row(line: _Line) -> PublishedRow:
    for column in _REQUIRED:
        if not line.text(column):
            raise line.wrong(column, "must not be empty")
    if line.text("family") not in FAMILIES:
        raise line.wrong("family", f"must be one of {', '.join(FAMILIES)}")
    batch, clock, bandwidth = (_leading_number(line, column) for column in _NUMBERS)
    return PublishedRow(
        **{column: line.text(column) for column in _REQUIRED if column != "value"},
        **{column: line.text(column) for column in _TEXTS if column.islower()},
        value=_number(line, "value"),
        batch=None if batch is None else _whole(line, "batch", batch),
        clock_mhz=clock,
        bandwidth_gb_per_s=bandwidth,
        units_text=line.text("PEs_or_MACs_or_DSPs"),
        onchip_kb=line.text("onchip_KB"),
        other=_other(line),
    )


def _number(line: _Line, column: str) -> float:
    try:
        value = float(line.text(column))
    except ValueError:
        raise line.wrong(column, "must be a number") from None
    if not math.isfinite(value):
        raise line.wrong(column, "must be a finite number")
    return value


def _leading_number(line: _Line, column: str) -> float | None:
    if not line.text(column):
        return None
    found = _LEADING_NUMBER.match(line.text(column))
    if not found or float(found[1]) <= 0:
        raise line.wrong(column, "must be empty or begin with a number above 0")
    return float(found[1])


def _whole(line: _Line, column: str, value: float) -> int:
    if value != int(value):
        raise line.wrong(column, "must be a whole number")
    return int(value)


def _other(line: _Line) -> Mapping[str, Any]:
    """The further facts; paths to files of the user's own are taken from the folder of the table."""
    if not line.text("other_params"):
        return {}
    try:
        facts = json.loads(line.text("other_params"))
    except json.JSONDecodeError as error:
        raise line.wrong("other_params", f"must be a JSON object ({error.msg} at character {error.pos})") from None
    if not isinstance(facts, dict):
        raise line.wrong("other_params", "must be a JSON object")
    for key in ("device", "model"):
        if isinstance(facts.get(key), str) and facts[key].endswith((".yaml", ".yml", ".csv")):
            facts[key] = str(line.path.parent / facts[key])
    return facts
