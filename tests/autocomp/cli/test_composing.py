from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from autocomp.cli.building import build, build_searcher
from autocomp.cli.composing import ConfigTree, checked, read
from autocomp.cli.overrides import setting
from autocomp.errors import ConfigError, UnknownNameError


@pytest.fixture(scope="module")
def tree() -> ConfigTree:
    return ConfigTree()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's own configuration files: one good, one that is no YAML."""
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "bench.yaml").write_text("_target_: hwmodels.load_device\ndevice: ultra96\nparameters: {}\n")
    (tmp_path / "hw" / "torn.yaml").write_text("device: [\n")
    return tmp_path


def test_the_default_is_complete_and_named_after_task_and_hardware(tree: ConfigTree) -> None:
    config = tree.compose([])
    assert config["name"] == "digits-fpga"
    assert set(config["objectives"]) == {"accuracy", "latency_s", "energy_j", "size_bytes", "macs", "params", "area_mm2", "loss"}
    assert config["hw"] == {"_target_": "hwmodels.load_device", "device": "zcu102", "parameters": {}}


@pytest.mark.parametrize("content", ["- 1\n", "device: zcu102\n"])
def test_a_hardware_file_without_a_class_is_refused_with_what_it_holds(content: str, tmp_path: Path) -> None:
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "vague.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"must name a class by `_target_`, but 'vague' holds"):
        ConfigTree(tmp_path).hardware("vague")


@pytest.mark.parametrize("group", ["task", "hw", "searcher", "space", "finetune", "tracking", "cluster"])
def test_every_file_of_the_tree_composes(tree: ConfigTree, group: str) -> None:
    needed = {"task": ["task.data=x"], "hw": ["hw.device=zcu102"]}
    for name in tree.names(group):
        extra = [] if name == "digits" else needed.get(group, [])
        assert tree.compose([f"{group}={name}", *extra])[group]


def test_what_was_composed_passes_its_own_check_again(tree: ConfigTree, tmp_path: Path) -> None:
    config = tree.compose(["hw=isaac", "trials=3", "objectives.latency_s.limit=2e-4"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert read(path) == config


def test_a_device_can_stand_for_hardware(tree: ConfigTree) -> None:
    config = tree.compose(["hw=ultra96"])
    assert config["hw"]["device"] == "ultra96"
    assert config["name"] == "digits-ultra96"
    assert build(config, "hw").name == "ultra96"


def test_device_parameters_need_no_plus_sign(tree: ConfigTree) -> None:
    config = tree.compose(["hw.parameters.clock_mhz=100"])
    assert config["hw"]["parameters"] == {"clock_mhz": 100}


def test_the_searcher_follows_the_seed_of_the_run_unless_it_has_its_own(tree: ConfigTree) -> None:
    assert tree.compose(["seed=3"])["searcher"]["seed"] == 3
    config = tree.compose(["searcher=random", "seed=3", "searcher.seed=5"])
    assert (config["seed"], config["searcher"]["seed"]) == (3, 5)


def test_the_users_own_folder_adds_names(folder: Path) -> None:
    config = ConfigTree(folder).compose(["hw=bench"])
    assert config["hw"]["device"] == "ultra96"
    assert "bench" in ConfigTree(folder).hardware_names()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trials=abc"], "`trials` has the wrong type"),
        (["trials=1.5"], "`trials` has the wrong type"),
        (["budget=20x"], "`budget` must be a positive time (90s, 20m, 1.5h) or number of image passes (2e6img), but is '20x'"),
        (["budget=-5m"], "`budget` must be a positive time"),
        (["finetune.polish_share=1"], "`finetune.polish_share` must lie in [0, 1), but is 1"),
        (["seed=x"], "`seed` has the wrong type"),
        (["tracking.enabled=maybe"], "`tracking.enabled` has the wrong type"),
        (["finetune.epochs=many"], "`finetune.epochs` has the wrong type"),
        (["space.rules=3"], "`space.rules` has the wrong type"),
        (["trials=0"], "`trials` must be at least 1, but is 0"),
        (["workers=-1"], "`workers` must be at least 1, or null for all, but is -1"),
        (["seed=-1"], "`seed` must be at least 0"),
        (["finetune.alpha=2"], "`finetune.alpha` must lie in"),
        (["pruning.weights=obd", "pruning.dynamics=gradual"], "`pruning.dynamics` 'gradual' needs `pruning.weights` l1 or l2"),
        (["early_stopping.eta=1"], "`early_stopping.eta` must be at least 2"),
        (["cluster.cpus_per_trial=0"], "`cluster.cpus_per_trial` must be positive"),
        (["objectives.latency_s.limit=-1"], "`objectives.latency_s.limit` must be a positive number"),
        (["objectives.latency_s.direction=up"], "must be min or max"),
        (["objectives.latency_s.limit=fast"], "`objectives.latency_s.limit` must be a positive number, or a share of the teacher's"),
        (["+objectives.speed.limit=1"], "An objective is one of accuracy"),
        (["best.limits.latency_s=fast"], "`best.limits.latency_s` must be a positive number"),
        (["warm_start=3"], "`warm_start` must be the folder of an earlier run, or a list of them, but is 3."),
        (["warm_start=[3]"], "`warm_start` must be the folder of an earlier run, or a list of them, but is [3]."),
        (["trials=1,2"], "has several"),
        (["fpga"], "written key=value"),
        (["out='x"], "written key=value"),
        (["seed.x=1"], "`seed` has no settings below it"),
        (["hw=device"], "`hw.device` has no default"),
        (["name=${nothing}"], "Interpolation key 'nothing' not found"),
        (["~objectives"], "`objectives` has no default"),
    ],
)
def test_a_bad_value_is_named_with_its_rule(tree: ConfigTree, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tree.compose(settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trails=3"], "There is no setting 'trails'. Did you mean 'trials'?"),
        (["finetune.epoch=3"], "Did you mean 'finetune.epochs'?"),
        (["pruning.filter=l1"], "Did you mean 'pruning.filters'?"),
        (["hw=asic", "hw.devise=eie"], "Did you mean 'hw.device'?"),
        (["+colour=red"], "There is no setting 'colour'."),
        (["a.b.c=1"], "There is no setting 'a'."),
        (["searcher.surogate=false"], "Did you mean 'searcher.surrogate'? Known: searcher.seed, searcher.surrogate."),
        (["searcher.rounds=4"], "A further argument of autocomp.searchers.AnnealingSearcher is set with a plus: +searcher.rounds=VALUE."),
    ],
)
def test_an_unknown_key_is_answered_with_the_keys_beside_it(tree: ConfigTree, settings: list[str], message: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        tree.compose(settings)
    assert message in str(caught.value)


def test_an_unknown_key_in_a_file_is_found_too(tree: ConfigTree) -> None:
    config = tree.compose([]) | {"trails": 3}
    with pytest.raises(UnknownNameError, match="Did you mean 'trials'"):
        checked(config)


def test_a_file_that_is_no_yaml_is_a_config_error(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"torn\.yaml"):
        ConfigTree(folder).compose(["hw=torn"])


@pytest.mark.parametrize("path", ["a b", "it's", "x=y,z", "/deep/er"])
def test_paths_survive_the_grammar(tree: ConfigTree, path: str) -> None:
    assert tree.compose([setting("out", Path(path))])["out"] == path


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution that announces one config package that works and one that does not."""
    (tmp_path / "lab_configs" / "hw").mkdir(parents=True)
    (tmp_path / "lab_configs" / "__init__.py").write_text("")
    (tmp_path / "lab_configs" / "hw" / "lab_chip.yaml").write_text("_target_: hwmodels.load_device\ndevice: eie\nparameters: {}\n")
    (tmp_path / "broken_configs.py").write_text("raise RuntimeError('half installed')\n")
    about = tmp_path / "lab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[autocomp.configs]\nlab = lab_configs\nbroken = broken_configs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_plugin_adds_names_and_a_broken_one_is_only_a_warning(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = ConfigTree()
    assert tree.compose(["hw=lab_chip"])["hw"]["device"] == "eie"
    warning = capsys.readouterr().err
    assert warning.startswith("autocomp: warning: plug-in 'broken' is left out")
    assert "half installed" in warning


def test_an_argument_that_a_class_does_not_take_is_a_config_error(tree: ConfigTree) -> None:
    config = tree.compose(["searcher=random", "+searcher.warmth=3"])
    with pytest.raises(ConfigError, match="unexpected keyword argument 'warmth'"):
        build_searcher(config)
    with pytest.raises(ConfigError, match=r"`task` cannot be built from its settings: .*colour"):
        build(tree.compose(["+task.colour=red"]), "task")


def test_a_class_that_does_not_exist_is_a_config_error(tree: ConfigTree) -> None:
    with pytest.raises(ConfigError, match="`hw` cannot be built"):
        build(tree.compose(["hw._target_=hwmodels.nothing"]), "hw")


def test_a_searchers_own_settings_win_over_what_the_run_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab_searcher.py").write_text("def propose(problem, *, seed, trials):\n    return problem, seed, trials\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"searcher": {"_target_": "lab_searcher.propose", "_partial_": True, "seed": 5}}
    assert build_searcher(config)(problem="p", seed=0, trials=9) == ("p", 5, 9)


def test_a_profile_is_for_searchers_whose_class_asks_for_it_and_that_are_not_told_to_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = "class Blind:\n    def __init__(self, problem, *, seed, trials, surrogate=True, preset=None): ...\n"
    (tmp_path / "lab_profile.py").write_text(f"{blind}class Guided(Blind):\n    uses_profile = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def uses(name: str, **settings: object) -> bool:
        return build_searcher({"searcher": {"_target_": f"lab_profile.{name}", "_partial_": True, **settings}}).uses_profile

    assert uses("Guided")
    assert uses("Guided", surrogate=True)
    assert not uses("Guided", surrogate=False)
    assert uses("Guided", preset=None)
    assert not uses("Guided", preset="amc")
    assert not uses("Blind")


@pytest.mark.parametrize(
    "settings", [["hw.axes={rows:[8,16],dataflow:[os,ws]}"], ["hw.axes.rows=[8,16]", "hw.axes.dataflow=[os,ws]"]], ids=["whole", "parts"]
)
def test_parameters_of_the_device_can_be_left_to_the_search(settings: list[str], tree: ConfigTree, folder: Path) -> None:
    axes = {"rows": [8, 16], "dataflow": ["os", "ws"]}
    config = tree.compose(["hw=zc706", *settings])
    assert config["hw"]["axes"] == axes
    assert config["name"] == "digits-zc706"
    own = ConfigTree(folder).compose(["hw=bench", *settings])  # a file that says nothing about axes
    assert own["hw"] == {"_target_": "hwmodels.load_device", "device": "ultra96", "parameters": {}, "axes": axes}
    assert "axes" not in tree.compose(["hw=zc706"])["hw"]
