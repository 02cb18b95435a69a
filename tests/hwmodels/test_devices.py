from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hwmodels import DeviceError, device_description, device_names, load_device
from hwmodels.device_files import FAMILIES, field_of
from hwmodels.parameters import parameter_types
from hwmodels.systolic import SystolicArray

FOLDER = Path(__file__).parents[2] / "hwmodels" / "devices"


def write(folder: Path, text: str, **changes: object) -> Path:
    """A copy of the zcu102 file with lines replaced or removed (None), or any text."""
    document = yaml.safe_load((FOLDER / "zcu102.yaml").read_text(encoding="utf-8")) | changes
    path = folder / "mine.yaml"
    path.write_text(text or yaml.safe_dump({key: value for key, value in document.items() if value is not None}), encoding="utf-8")
    return path


def test_every_family_ships_two_devices() -> None:
    assert set(device_names().values()) == set(FAMILIES)
    assert min(Counter(device_names().values()).values()) >= 2


@pytest.mark.parametrize("name", list(device_names()))
def test_a_shipped_device_is_called_as_its_file_and_described(name: str) -> None:
    assert load_device(name).name == name
    assert 20 < len(device_description(name)) < 160


@pytest.mark.parametrize("name", list(device_names()))
def test_every_key_of_a_shipped_device_is_explained(name: str) -> None:
    words = re.findall(r"`(\w+)`", (FOLDER / "README.md").read_text(encoding="utf-8"))
    keys = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    kinds = parameter_types(type(load_device(name)))
    # a unit may be exchanged for another of its kind: what counts is the parameter that a key fills
    assert {field_of(key, kinds)[0] for key in keys} <= {field_of(word, kinds)[0] for word in words}


def test_units_of_the_file_become_si() -> None:
    model = load_device("zcu102")
    assert isinstance(model, SystolicArray)
    assert model.clock_hz == 200e6
    assert model.dram_bytes_per_s == 19.2e9
    assert model.dram_energy_j_per_bit == pytest.approx(15e-12)
    assert model.static_power_w == pytest.approx(0.7)


def test_parameters_replace_keys_in_any_unit_of_their_kind() -> None:
    model = load_device("zcu102", {"clock_ghz": 0.3, "rows": 32, "dataflow": "ws"})
    assert isinstance(model, SystolicArray)
    assert (model.clock_hz, model.rows, model.dataflow) == (0.3e9, 32, "ws")


def test_a_file_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    assert load_device(str(write(tmp_path, "", name="mine"))).name == "mine"


def test_an_unknown_device_is_answered_with_the_list() -> None:
    with pytest.raises(DeviceError, match=r"'zcu120' \(did you mean `zcu102`\?\); there are .*cambricon_x, .*eie, .*zcu102"):
        load_device("zcu120")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clock_mhz": None}, "has no key `clock_mhz`"),
        ({"clock_mhz": None, "clock": 200}, r"unknown key `clock` \(value 200\) \(did you mean `clock_mhz`\?\)"),
        ({"clock_mhz": -5}, "`clock_mhz` must be finite and not negative, but is -5"),
        ({"clock_mhz": 0}, "`clock_mhz` must be above 0, but is 0"),
        ({"clock_mhz": "fast"}, "`clock_mhz` must be a number, but is 'fast'"),
        ({"clock_ghz": 0.2}, "`clock_(m|g)hz` gives `clock_hz` a second time"),
        ({"rows": 16.5}, "`rows` must be a whole number, but is 16.5"),
        ({"rows": True}, "`rows` must be a whole number, but is True"),
        ({"weight_double_buffer": 1}, "`weight_double_buffer` must be true or false, but is 1"),
        ({"dsp_type": "dsp48"}, "`dsp_type` must be one of dsp48e1, dsp48e2, stratix5, arria10, but is 'dsp48'"),
        ({"name": 7}, "`name` must be text, but is 7"),
        ({"family": "systolics"}, r"`family` must be one of .* but is 'systolics' \(did you mean `systolic`\?\)"),
    ],
)
def test_a_bad_key_is_named_with_file_and_value(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    path = write(tmp_path, "", **changes)
    with pytest.raises(DeviceError, match=said) as caught:
        load_device(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("rows: [1, 2", "is not YAML"), ("- 1\n- 2\n", "must hold `key: value` lines")])
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DeviceError, match=said) as caught:
        load_device(str(write(tmp_path, text)))
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"none\.yaml cannot be read: No such file"):
        load_device(str(tmp_path / "none.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeviceError, match="it is not UTF-8 text"):
        load_device(str(tmp_path / "binary.yaml"))


def test_rules_between_parameters_name_the_file() -> None:
    with pytest.raises(DeviceError, match=r"isaac\.yaml: `adcs` must be at most `cols`"):
        load_device("isaac", {"adcs": 1000})


def test_importing_hwmodels_imports_neither_torch_nor_autocomp() -> None:
    script = "import sys, hwmodels; assert not {'torch', 'ray', 'mlflow', 'hydra', 'autocomp'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
