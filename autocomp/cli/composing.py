"""Composing: from the configuration tree and `key=value` settings to one checked, plain dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
import yaml
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException, ValidationError

from autocomp.cli.overrides import parsed, setting
from autocomp.errors import ConfigError, UnknownNameError
from hwmodels import device_names

KINDS = {
    "task": "task",
    "hw": "hardware",
    "searcher": "searcher",
    "space": "search space",
    "finetune": "fine-tuning",
    "tracking": "tracking",
    "cluster": "cluster",
}
PLUGINS = "autocomp.configs"
ANY_DEVICE = "device"  # hw/device.yaml, which stands for every device that has no file of its own
INTERNAL = ("_target_", "_partial_")  # what Hydra builds by
# what fits in here differs from device to device, from network to network, and from run to run
OPEN = ("hw.parameters", "hw.axes", "task.model_options", "student.options", "best.weights", "best.limits")


def warn(text: str) -> None:
    """Say on standard error what goes on without something."""
    typer.echo(f"autocomp: warning: {text}", err=True)


def plugin_packages() -> list[str]:
    """Config packages that installed distributions announce; one that cannot be read is named and left out."""
    found = []
    for point in entry_points(group=PLUGINS):
        try:
            resources.files(point.value)
        except Exception as error:
            warn(f"plug-in '{point.name}' is left out, its package '{point.value}' cannot be read: {error}")
        else:
            found.append(point.value)
    return found


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML raise into a `ConfigError` of one line."""
    try:
        yield
    except MissingMandatoryValue as error:
        raise ConfigError(f"`{error.full_key}` has no default; set it with {error.full_key}=VALUE.") from error
    except ValidationError as error:
        raise ConfigError(f"`{error.full_key}` has the wrong type: {_first_line(error)}") from error
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    except HydraException as error:
        cause = error.__cause__  # what OmegaConf found wrong says more than what Hydra wraps around it
        raise ConfigError(_first_line(cause) if isinstance(cause, OmegaConfBaseException) else " ".join(str(error).split())) from error
    except yaml.YAMLError as error:
        raise ConfigError(" ".join(str(error).split())) from error


def _first_line(error: OmegaConfBaseException) -> str:
    """What is wrong; the lines after it are about OmegaConf's own types."""
    return str(error).partition("\n")[0]


class ConfigTree:
    """Every configuration file there is: autocomp's own, those of plug-ins, and a folder of the user's.

    Raises:
        ConfigError: if the folder does not exist.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"--config-dir must be a folder, but there is none at '{folder}'.")
        sources = [f"pkg://{package}" for package in plugin_packages()]
        if folder is not None:
            sources.append(f"file://{folder.resolve()}")
        self._search_path = setting("hydra.searchpath", sources)

    def names(self, group: str) -> list[str]:
        """What a group can be set to."""
        with initialize_config_module("search_spaces", version_base="1.3"):
            return [str(n) for n in GlobalHydra.instance().config_loader().get_group_options(group, overrides=[self._search_path])]

    def hardware_names(self) -> list[str]:
        """Everything that ``hw`` can be set to: files and devices."""
        return sorted({*self.names("hw"), *device_names()} - {ANY_DEVICE})

    def hardware(self, name: str) -> dict[str, Any]:
        """What one name for ``hw`` stands for.

        Raises:
            UnknownNameError: if there is no such name.
            ConfigError: if its file cannot be read.
        """
        texts = self._named(parsed([setting("hw", name)])[0])
        with one_line_errors():
            composed, _ = self.load(texts)
            found: Any = OmegaConf.to_container(composed.hw, resolve=True, throw_on_missing=True)
        if not isinstance(found, dict) or "_target_" not in found:
            raise ConfigError(f"A file for `hw` must name a class by `_target_`, but '{name}' holds {found!r}.")
        return found

    def load(self, settings: Sequence[str]) -> tuple[DictConfig, Mapping[str, str]]:
        """The composed configuration, unchecked, and what was chosen in each group."""
        with initialize_config_module("search_spaces", version_base="1.3"):
            composed = compose("config", [self._search_path, *settings], return_hydra_config=True)
        with open_dict(composed):
            hydra = composed.pop("hydra")
        return composed, hydra.runtime.choices

    def compose(self, settings: Sequence[str]) -> dict[str, Any]:
        """The configuration with some settings changed: checked, resolved, plain.

        Raises:
            UnknownNameError: on a name or key that is in no list.
            ConfigError: on a value of the wrong type or out of range, or a file that cannot be read.
        """
        texts = [text for override in parsed(settings) for text in self._named(override)]
        with one_line_errors():
            try:
                composed, choices = self.load(texts)
            except HydraException as error:
                if isinstance(error.__cause__, (ConfigAttributeError, ConfigKeyError)):
                    self._complain_about_keys(texts)
                raise
            if composed.name is None:
                hardware = composed.hw.device if choices["hw"] == ANY_DEVICE else choices["hw"]
                composed.name = f"{choices['task']}-{hardware}"
        return checked(composed)

    def _named(self, override: Override) -> list[str]:
        """The setting as Hydra shall see it; group names are checked here because Hydra's own message has many lines."""
        key, value, text = override.key_or_group, override.value(), str(override.input_line)
        if key.startswith(tuple(f"{part}." for part in OPEN)) or key in OPEN:
            return [text if text.startswith(("+", "~")) else f"++{text}"]
        if key not in KINDS or not isinstance(value, str) or value in self.names(key):
            return [text]
        if key == "hw" and value in device_names():
            return [f"hw={ANY_DEVICE}", f"hw.device={value}"]
        raise UnknownNameError(KINDS[key], value, self.hardware_names() if key == "hw" else self.names(key))

    def _complain_about_keys(self, settings: Sequence[str]) -> None:
        """Name the first setting whose key does not exist, beside the keys that do."""
        plain = [o for o in parsed(settings) if o.key_or_group not in KINDS and not o.is_add() and not o.is_force_add()]
        composed, _ = self.load([str(o.input_line) for o in parsed(settings) if o.key_or_group in KINDS])
        for override in plain:
            check_key(override.key_or_group, composed)


def check_key(key: str, composed: DictConfig) -> None:
    """Raise an `UnknownNameError` with the keys beside it if a dotted key does not exist."""
    parent, _, last = key.rpartition(".")
    if parent:
        check_key(parent, composed)
    node = OmegaConf.select(composed, parent) if parent else composed
    if not isinstance(node, DictConfig):
        raise ConfigError(f"`{parent}` has no settings below it, but '{key}' names one.")
    if last not in node:
        hint = f" A further argument of {node['_target_']} is set with a plus: +{key}=VALUE." if node.get("_partial_") else ""
        raise UnknownNameError("setting", key, [f"{parent}.{k!s}" if parent else str(k) for k in node if k not in INTERNAL], hint=hint)


def checked(composed: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as a plain dictionary, its types and ranges checked against `autocomp.cli.settings`.

    Raises:
        UnknownNameError: on a key that is in no list.
        ConfigError: on a value of the wrong type or out of range.
    """
    from autocomp.cli.settings import schema  # which imports torch

    with one_line_errors():
        try:
            typed = OmegaConf.merge(schema(), composed)
        except (ConfigKeyError, ConfigAttributeError) as error:
            check_key(str(error.full_key), schema())
            raise
        OmegaConf.to_object(typed)  # builds the classes of the schema, which check ranges
        plain: dict[str, Any] = OmegaConf.to_container(typed, resolve=True)  # type: ignore[assignment]
    return plain


def with_settings(config: Mapping[str, Any], settings: Sequence[str], part: str) -> dict[str, Any]:
    """A configuration with some settings below one of its parts changed, checked again.

    Raises:
        ConfigError: on a setting of another part, or a value out of range.
    """
    changed = OmegaConf.create(dict(config))
    for override in parsed(settings):
        key = override.key_or_group
        if not key.startswith(f"{part}."):
            raise ConfigError(f"Here only settings below `{part}` can be changed, but '{key}' is none of them.")
        OmegaConf.update(changed, key, override.value(), force_add=True)
    return checked(changed)


def read(path: Path) -> dict[str, Any]:
    """A configuration that an earlier run wrote, checked again.

    Raises:
        ConfigError: if it cannot be read or is out of range.
    """
    with one_line_errors():
        loaded = OmegaConf.load(path)
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"A configuration is a mapping, but '{path}' is not.")
    return checked(loaded)
