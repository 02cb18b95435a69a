"""Device files: YAML in data-sheet units, and the hardware models that they become in SI units."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from hwmodels.cost import HardwareModel
from hwmodels.errors import DeviceError
from hwmodels.parameters import SCALARS, complaint, parameter_types, takes_arrays

# Where the class of each family lives; a family is imported with the first of its devices, so that `import hwmodels` stays quick.
FAMILIES: Final = {
    "systolic": "hwmodels.systolic:SystolicArray",
    "unrolled": "hwmodels.unrolled:UnrolledEngine",
    "streaming": "hwmodels.streaming:StreamingDataflow",
    "sparse_fpga": "hwmodels.sparse_fpga:SparseMatrixVector",
    "sparse": "hwmodels.sparse:SparseAccelerator",
    "dense": "hwmodels.dense:DenseAccelerator",
    "crossbar": "hwmodels.crossbar:Crossbar",
}

# Ending of a key, ending of the field that it fills, and the factor between them; the first of each field is the one to suggest.
_UNITS: Final = (
    ("_gb_per_s", "_bytes_per_s", 1e9),
    ("_mb_per_s", "_bytes_per_s", 1e6),
    ("_pj_per_bit", "_j_per_bit", 1e-12),
    ("_fj_per_bit", "_j_per_bit", 1e-15),
    ("_mhz", "_hz", 1e6),
    ("_ghz", "_hz", 1e9),
    ("_ns", "_s", 1e-9),
    ("_us", "_s", 1e-6),
    ("_pj", "_j", 1e-12),
    ("_fj", "_j", 1e-15),
    ("_mw", "_w", 1e-3),
    ("_kb", "_bytes", 1024.0),
    ("_mb", "_bytes", 1024.0**2),
    ("_um2", "_mm2", 1e-6),
)
_ABOUT: Final = ("family", "description")  # keys that are not parameters
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the compiled one is ten times as fast
_FOLDER: Final = Path(__file__).parent / "devices"
_GUIDE: Final = "hwmodels/devices/README.md lists the keys"


def family_class(family: str) -> type:
    """The hardware model of a family: a dataclass whose fields are the keys of its device files."""
    module, _, name = FAMILIES[family].partition(":")
    model: type = getattr(importlib.import_module(module), name)
    return model


def device_names() -> dict[str, str]:
    """The shipped devices, name to family."""
    return {path.stem: _read(path)["family"] for path in sorted(_FOLDER.glob("*.yaml"))}


def device_description(device: str) -> str:
    """One line about a device.

    Raises:
        DeviceError: if the device is unknown or its file unreadable.
    """
    return str(_read(_find(device)).get("description", ""))


def read_device(device: str, parameters: Mapping[str, object] | None = None) -> HardwareModel:
    """The hardware model of a device, see `hwmodels.load_device`."""
    path = _find(device)
    document = _read(path)
    model = family_class(document["family"])
    source = f"Device file {path}"
    fields = si_fields(model, {key: value for key, value in document.items() if key not in _ABOUT}, source)
    fields |= si_fields(model, parameters or {}, f"Parameters of device '{device}'")
    for field in dataclasses.fields(model):
        if field.default is dataclasses.MISSING and field.name not in fields:
            raise DeviceError(f"{source} has no key `{_suggested_key(field.name, parameter_types(model)[field.name])}`; {_GUIDE}.")
    try:
        built: HardwareModel = model(**fields)
    except DeviceError as error:  # a rule between two parameters
        raise DeviceError(f"{source}: {error}") from None
    return built


def _find(device: str) -> Path:
    if device.endswith((".yaml", ".yml")):
        return Path(device)
    path = _FOLDER / f"{device}.yaml"
    if "/" in device or not path.is_file():
        names = [p.stem for p in sorted(_FOLDER.glob("*.yaml"))]
        raise DeviceError(
            f"No device is called '{device}'{_did_you_mean(device, names)}; there are {', '.join(names)}, or give a .yaml file."
        )
    return path


def _read(path: Path) -> dict[str, Any]:
    """A device file, checked to be a table of a known family; parsed once for as long as it does not change."""
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise DeviceError(f"Device file {path} cannot be read: {error.strerror}.") from None


@lru_cache(maxsize=256)
def _parsed(path: Path, changed_ns: int) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except UnicodeDecodeError:
        raise DeviceError(f"Device file {path} cannot be read: it is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        raise DeviceError(f"Device file {path} is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(document, dict):
        raise DeviceError(f"Device file {path} must hold `key: value` lines; {_GUIDE}.")
    family = document.get("family")
    if family not in FAMILIES:
        hint = _did_you_mean(str(family), FAMILIES)
        raise DeviceError(f"Device file {path}: `family` must be one of {', '.join(FAMILIES)}, but is {family!r}{hint}.")
    return document


def si_fields(model: type, values: Mapping[str, object], source: str) -> dict[str, Any]:
    """Checked values in SI units under the names of the model's fields."""
    kinds = parameter_types(model)
    fields: dict[str, Any] = {}
    for key, value in values.items():
        name, factor = field_of(str(key), kinds)
        if name not in kinds:
            hint = _did_you_mean(str(key), [_suggested_key(field, kind) for field, kind in kinds.items()])
            raise DeviceError(f"{source}: unknown key `{key}` (value {value!r}){hint}; {_GUIDE}.")
        value = _as_column(value, kinds[name])
        if name in fields:
            raise DeviceError(f"{source}: `{key}` gives `{name}` a second time (value {value!r}); keep one unit.")
        wrong = complaint(name, kinds[name], value)
        if wrong:
            raise DeviceError(f"{source}: `{key}` {wrong}, but is {_shown(value)}.")
        fields[name] = value * factor if SCALARS.get(kinds[name]) is float else value  # type: ignore[operator]  # checked to be a number
    return fields


def _shown(value: object) -> str:
    """A value in one line; of many, the least and the greatest."""
    if not isinstance(value, np.ndarray) or not value.size:
        return repr(value)
    values = value.ravel().tolist()
    return f"{min(values)!r} to {max(values)!r}"


def _as_column(value: object, kind: Any) -> object:
    """One value per candidate (``b``) as the column (``b x 1``) that broadcasts against ``b x l``."""
    if takes_arrays(kind) and isinstance(value, np.ndarray) and value.ndim == 1:
        return value[:, None]
    return value


def field_of(key: str, kinds: Mapping[str, Any]) -> tuple[str, float]:
    """The field that a key fills, and its factor to SI; the key itself where no unit applies."""
    for ending, si_ending, factor in _UNITS:
        name = key.removesuffix(ending) + si_ending
        if key.endswith(ending) and SCALARS.get(kinds.get(name)) is float:
            return name, factor
    return key, 1.0


def _suggested_key(name: str, kind: Any) -> str:
    for ending, si_ending, _ in _UNITS:
        if SCALARS.get(kind) is float and name.endswith(si_ending) and si_ending != "_mm2":
            return name.removesuffix(si_ending) + ending
    return name


def _did_you_mean(word: str, options: Iterable[str]) -> str:
    close = get_close_matches(word, list(options), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""
