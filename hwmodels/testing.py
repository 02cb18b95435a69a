"""Contract tests that every hardware model passes; needs only numpy and pytest.

class TestMyDevice(HardwareModelContract):
    @pytest.fixture
    def model(self):
        return MyDevice()
"""

# ruff: noqa: D102  (the name of a test is its docstring)
from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np

from hwmodels.cost import CostReport, HardwareModel
from hwmodels.workload import Op, Pattern, Workload

# A strided, a grouped, a depthwise and a pointwise convolution between ordinary ones, and linear layers, one of them on a sequence.
_LAYERS: dict[str, tuple[int, ...]] = {
    "op": (0, 0, 0, 0, 0, 0, 1, 1, 1),
    "in_channels": (4, 16, 16, 32, 32, 32, 64, 48, 96),
    "out_channels": (16, 16, 32, 32, 32, 64, 48, 96, 12),
    "groups": (1, 1, 1, 4, 32, 1, 1, 1, 1),
    "kernel_h": (3, 3, 3, 3, 3, 1, 1, 1, 1),
    "kernel_w": (3, 3, 3, 3, 3, 1, 1, 1, 1),
    "in_h": (16, 16, 16, 8, 8, 8, 1, 5, 1),
    "in_w": (16, 16, 16, 8, 8, 8, 1, 1, 1),
    "out_h": (16, 16, 8, 8, 8, 8, 1, 5, 1),
    "out_w": (16, 16, 8, 8, 8, 8, 1, 1, 1),
    "stride": (1, 1, 2, 1, 1, 1, 1, 1, 1),
}
_NAMES = ("stem", "conv", "strided", "grouped", "depthwise", "pointwise", "linear", "sequence", "classifier")
_EVERY_OP = frozenset(Op)
_SLACK = 1 + 1e-9  # rounding in sums of floats


def sample_workload(candidates: int = 40, seed: int = 0, ops: frozenset[Op] = _EVERY_OP) -> Workload:
    """A small network in several compressed versions, ``candidates x l``: random widths, bits, densities, patterns and unused slots.

    Args:
        candidates: how many versions.
        seed: of what is random.
        ops: the kinds of layer that it may have.
    """
    rng = np.random.default_rng(seed)
    kept = [i for i, op in enumerate(_LAYERS["op"]) if Op(op) in ops]
    shape = (candidates, len(kept))
    layers = {name: np.array(values)[kept] for name, values in _LAYERS.items()}
    layers["in_channels"] = layers["in_channels"] // layers["groups"] * rng.integers(1, 3, shape) * layers["groups"]
    layers["out_channels"] = layers["out_channels"] // layers["groups"] * rng.integers(0, 3, shape) * layers["groups"]
    pattern = rng.choice([int(p) for p in Pattern], shape)
    return Workload(
        names=tuple(_NAMES[i] for i in kept),
        **layers,
        weight_bits=rng.integers(1, 17, shape),
        activation_bits=rng.integers(1, 17, shape),
        weight_density=np.where(pattern == Pattern.DENSE, 1.0, rng.uniform(0, 1, shape)),
        activation_density=rng.uniform(0, 1, shape),
        pattern=pattern,
        index_bits=np.where(pattern == Pattern.DENSE, 0, 4),
    )


def sample_for(model: HardwareModel, candidates: int = 40, seed: int = 0) -> Workload:
    """`sample_workload` of the layers that a model can run: all, or the ``Op`` codes in its attribute ``supports``."""
    return sample_workload(candidates, seed, getattr(model, "supports", _EVERY_OP))


def _arrays(report: CostReport) -> dict[str, Any]:
    named = {"latency_s": report.latency_s, "cycles": report.cycles, "dram_bytes": report.dram_bytes, "area_mm2": report.area_mm2}
    energy = {f"energy {part}": array for part, array in report.energy_parts_j.items()}
    return named | energy | {"utilization": report.utilization} | dict(report.resources)


class HardwareModelContract:
    """Inherit, and give a fixture ``model``."""

    def test_every_price_is_finite_and_not_negative(self, model: HardwareModel) -> None:
        report = model.estimate(sample_for(model))
        for name, array in _arrays(report).items():
            assert np.isfinite(array).all(), name
            assert (np.asarray(array) >= 0).all(), name
        assert (report.utilization <= _SLACK).all()
        assert set(report.limits) >= set(report.resources)

    def test_prices_have_the_shape_of_the_workload(self, model: HardwareModel) -> None:
        workload = sample_for(model, 6)
        report = model.estimate(workload)
        assert report.latency_s.shape == report.energy_j.shape == workload.shape
        assert report.total_latency_s.shape == report.feasible.shape == workload.shape[:1]

    def test_prices_have_the_shape_of_the_workload_whatever_varies(self, model: HardwareModel) -> None:
        alone = sample_for(model, 1).candidate(0)
        for name, array in alone.arrays().items():
            report = model.estimate(alone.replace(**{name: np.stack([array, array])}))
            shape = (2, len(alone.names))
            assert report.latency_s.shape == report.energy_j.shape == report.cycles.shape == shape, name
            assert report.dram_bytes.shape == report.utilization.shape == shape, name
            assert report.feasible.shape == shape[:1], name

    def test_the_same_workload_has_the_same_price(self, model: HardwareModel) -> None:
        first, second = _arrays(model.estimate(sample_for(model))), _arrays(model.estimate(sample_for(model)))
        for name, array in first.items():
            np.testing.assert_array_equal(array, second[name], err_msg=name)

    def test_pricing_leaves_the_workload_as_it_is(self, model: HardwareModel) -> None:
        workload = sample_for(model, 3)
        before = {name: array.copy() for name, array in workload.arrays().items()}
        model.estimate(workload)
        for name, array in workload.arrays().items():
            np.testing.assert_array_equal(array, before[name], err_msg=name)

    def test_a_batch_of_candidates_costs_what_each_costs_alone(self, model: HardwareModel) -> None:
        workload = sample_for(model, 12)
        batch = model.estimate(workload)
        for index in range(12):
            alone = model.estimate(workload.candidate(index))
            assert np.isclose(alone.total_latency_s, batch.total_latency_s[index], rtol=1e-12)
            assert np.isclose(alone.total_energy_j, batch.total_energy_j[index], rtol=1e-12)
            assert alone.feasible == batch.feasible[index]

    def test_an_unused_slot_costs_exactly_nothing(self, model: HardwareModel) -> None:
        workload = sample_for(model)
        report = model.estimate(workload)
        layered = report.latency_s, report.energy_j, report.cycles, report.dram_bytes, report.utilization
        assert not workload.used.all()
        for array in layered:
            assert not array[~workload.used].any()

    def test_fewer_bits_never_cost_more_energy_or_traffic(self, model: HardwareModel) -> None:
        workload = sample_for(model)
        for field in ("weight_bits", "activation_bits"):
            wide = model.estimate(workload.replace(**{field: np.full((), 16)}))
            for bits in (12, 8, 7, 4, 2, 1):
                narrow = model.estimate(workload.replace(**{field: np.full((), bits)}))
                assert (narrow.total_energy_j <= wide.total_energy_j * _SLACK).all(), (field, bits)
                assert (narrow.total_latency_s <= wide.total_latency_s * _SLACK).all(), (field, bits)
                assert (narrow.dram_bytes <= wide.dram_bytes * _SLACK).all(), (field, bits)
                wide = narrow

    def test_a_denser_layer_never_costs_less(self, model: HardwareModel) -> None:
        workload = sample_for(model)
        for field in ("weight_density", "activation_density"):
            sparse = model.estimate(workload.replace(**{field: np.zeros(())}))
            for density in (0.05, 0.3, 0.7, 0.95, 1.0):
                dense = model.estimate(workload.replace(**{field: np.full((), density)}))
                assert (sparse.total_energy_j <= dense.total_energy_j * _SLACK).all(), (field, density)
                assert (sparse.total_latency_s <= dense.total_latency_s * _SLACK).all(), (field, density)
                sparse = dense

    def test_twice_the_channels_never_cost_less(self, model: HardwareModel) -> None:
        workload = sample_for(model)
        small = model.estimate(workload)
        for field in ("in_channels", "out_channels"):
            large = model.estimate(workload.replace(**{field: getattr(workload, field) * 2}))
            assert (small.total_energy_j <= large.total_energy_j * _SLACK).all(), field
            assert (small.total_latency_s <= large.total_latency_s * _SLACK).all(), field

    def test_a_network_without_layers_costs_nothing(self, model: HardwareModel) -> None:
        report = model.estimate(Workload(names=(), in_channels=np.zeros(0, int), out_channels=np.zeros(0, int)))
        assert report.total_latency_s == 0
        assert report.total_energy_j == 0

    def test_nonidealities_are_none_or_plain_numbers(self, model: HardwareModel) -> None:
        disturbed = model.nonidealities(sample_for(model, 2))
        assert disturbed is None or all(isinstance(value, int | float) for value in disturbed.values())

    def test_it_survives_pickling(self, model: HardwareModel) -> None:
        copy = pickle.loads(pickle.dumps(model))
        workload = sample_for(model, 3)
        np.testing.assert_array_equal(copy.estimate(workload).latency_s, model.estimate(workload).latency_s)

    def test_pricing_does_not_import_torch(self, model: HardwareModel) -> None:
        script = "import pickle, sys; from hwmodels.testing import sample_for; model = pickle.loads(sys.stdin.buffer.read())\n"
        script += "model.estimate(sample_for(model, 2)); assert 'torch' not in sys.modules"
        done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(model), check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def test_totals_are_the_sums_of_layers_and_parts(self, model: HardwareModel) -> None:
        report = model.estimate(sample_for(model, 8))
        np.testing.assert_allclose(report.total_latency_s, report.latency_s.sum(-1), rtol=1e-12)
        parts = sum((array.sum(-1) for array in report.energy_parts_j.values()), np.zeros(8))
        np.testing.assert_allclose(report.total_energy_j, parts, rtol=1e-12)

    def test_many_candidates_cost_what_few_do(self, model: HardwareModel) -> None:
        """More than are priced at once where a model works in chunks, in one axis and in two."""
        few = sample_for(model, 5)
        many = {n: np.tile(a, (800, 1)) if a.ndim == 2 else a for n, a in few.arrays().items()}
        priced, expected = model.estimate(Workload(names=few.names, **many)), model.estimate(few)
        for name, array in _arrays(priced).items():
            shape = np.broadcast_shapes(np.shape(_arrays(expected)[name]), (5,) if np.ndim(array) < 2 else ())
            lone = np.broadcast_to(_arrays(expected)[name], shape)
            every = np.broadcast_to(array, (4000, *shape[1:]))
            np.testing.assert_allclose(every.reshape(800, *shape), np.broadcast_to(lone, (800, *shape)), rtol=1e-12, err_msg=name)
        plane = {n: a.reshape(800, 5, -1) if a.ndim == 2 else a for n, a in many.items()}
        np.testing.assert_allclose(
            model.estimate(Workload(names=few.names, **plane)).total_energy_j, np.tile(expected.total_energy_j, (800, 1)), rtol=1e-12
        )

    def test_a_larger_batch_never_costs_less(self, model: HardwareModel) -> None:
        workload = sample_for(model)
        one, eight = model.estimate(workload), model.estimate(workload.replace(batch=8))
        assert (one.total_energy_j <= eight.total_energy_j * _SLACK).all()
        assert (one.total_latency_s <= eight.total_latency_s * _SLACK).all()

    def test_what_does_not_fit_says_why(self, model: HardwareModel) -> None:
        huge = sample_for(model, 3)
        report = model.estimate(huge.replace(out_channels=huge.out_channels * 4096))
        for index, fits in enumerate(report.feasible):
            assert bool(report.reasons(index)) is not bool(fits)
