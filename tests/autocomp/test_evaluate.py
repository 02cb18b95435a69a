"""One trial from start to end, with the real digits, their teacher and a published device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import PruningSettings, compress, default_methods
from autocomp.compression.coded_size import Beside
from autocomp.compression.devices import on_device
from autocomp.distill import FineTuning
from autocomp.evaluate import Evaluator, Measurement
from autocomp.objective import PAPER_METRICS
from autocomp.problem import Problem
from autocomp.sensitivity import Sensitivity
from autocomp.space import SearchSpace
from autocomp.storage import packed_size
from autocomp.tasks import DigitsTask, evaluate
from autocomp.tracing import trace
from hwmodels import HardwareModel, load_device


@pytest.fixture(scope="module")
def evaluator(digits: DigitsTask) -> Evaluator:
    network = normalize(digits.teacher(), digits.input_shape)
    assert network is not None
    workload = trace(network, digits.input_shape)
    methods = default_methods(channel_map(network, digits.input_shape))
    problem = Problem(workload, SearchSpace(workload.names, ()), methods, load_device("zcu102"), (), {})
    problem = replace(problem, beside=Beside.of(workload, *packed_size(network)))
    return Evaluator(problem, network, digits.train(), digits.validation(), digits.mean, digits.std, FineTuning())


def fresh(evaluator: Evaluator, **finetune: Any) -> Evaluator:
    """The same evaluator as a worker gets it, with nothing remembered."""
    return replace(evaluator, finetune=replace(evaluator.finetune, **finetune))


def every_layer(evaluator: Evaluator, **knobs: Any) -> Configuration:
    return Configuration(dict.fromkeys(evaluator.problem.workload.names, Choice(**knobs)))


def pruned(evaluator: Evaluator, sparsity: float) -> Configuration:
    method = evaluator.problem.methods[0]
    led = method.supported(evaluator.problem.workload)["pattern", "filter"]
    names = np.array(evaluator.problem.workload.names)[led].tolist()
    return Configuration(dict.fromkeys(names, Choice(sparsity=sparsity, pattern="filter")))


def measurements(evaluator: Evaluator, configuration: Configuration, *, seed: int = 0, epochs: int | None = None) -> list[Measurement]:
    return [measurement for _, measurement in evaluator.run(configuration, seed=seed, epochs=epochs)]


@pytest.fixture(scope="module")
def four_bits(evaluator: Evaluator) -> list[Measurement]:
    return measurements(fresh(evaluator), every_layer(evaluator, weight_bits=4, activation_bits=4), epochs=2)


def test_four_bits_everywhere_cost_at_most_two_points_after_two_epochs(evaluator: Evaluator, four_bits: list[Measurement]) -> None:
    teacher, _ = evaluate(evaluator.network, evaluator.validation, mean=evaluator.mean, std=evaluator.std)
    assert four_bits[-1].metrics["accuracy"] >= teacher - 0.02


def test_three_bits_everywhere_can_still_be_trained(evaluator: Evaluator) -> None:
    found = measurements(evaluator, every_layer(evaluator, weight_bits=3, activation_bits=3), epochs=2)
    assert found[-1].metrics["accuracy"] >= 0.95


def test_two_bits_are_hurt_by_rounding_and_repaired_by_training(evaluator: Evaluator) -> None:
    found = measurements(evaluator, every_layer(evaluator, weight_bits=2, activation_bits=2), epochs=2)
    assert found[0].metrics["accuracy"] < 0.9 < found[-1].metrics["accuracy"]
    assert found[-1].metrics["loss"] < found[0].metrics["loss"] / 2


def test_a_trial_is_measured_after_calibration_and_after_each_epoch(evaluator: Evaluator, four_bits: list[Measurement]) -> None:
    assert [m.fidelity for m in four_bits] == [0, 1, 2]
    assert [m.is_last for m in four_bits] == [False, False, True]
    assert all({"area_mm2", *m.metrics} == {"accuracy", "loss", *PAPER_METRICS} for m in four_bits)
    assert not any("area_mm2" in m.metrics for m in four_bits)  # an FPGA has no model of it
    durations = [m.duration_s for m in four_bits]
    assert durations == sorted(durations)
    price = evaluator.problem.metrics_of(every_layer(evaluator, weight_bits=4, activation_bits=4))
    assert all(price.items() <= m.metrics.items() for m in four_bits[:-1])
    assert {n: v for n, v in price.items() if four_bits[-1].metrics[n] != v}.keys() == {"size_bytes"}


def test_at_the_end_the_size_is_the_length_of_the_packed_file(evaluator: Evaluator) -> None:
    configuration = every_layer(evaluator, weight_bits=4, activation_bits=4)
    for network, measured in evaluator.run(configuration, seed=0, epochs=1):
        trained, last = network, measured
    assert last.metrics["size_bytes"] == packed_size(trained)[0]
    assert last.metrics["size_bytes"] == pytest.approx(evaluator.problem.metrics_of(configuration)["size_bytes"], rel=0.1)


def test_without_epochs_the_only_measurement_is_the_last(evaluator: Evaluator) -> None:
    (only,) = measurements(evaluator, Configuration({}), epochs=0)
    assert only.fidelity == 0
    assert only.is_last


def test_the_epochs_of_a_trial_are_those_of_the_settings(evaluator: Evaluator) -> None:
    settings = fresh(evaluator, epochs=1, images_per_epoch=64)
    assert [m.fidelity for m in measurements(settings, Configuration({}))] == [0, 1]


def test_image_passes_count_every_image_once_forward_and_three_times_in_training(evaluator: Evaluator) -> None:
    worker = fresh(evaluator, images_per_epoch=256, calibration_images=300)
    found = measurements(worker, every_layer(evaluator, activation_bits=4), epochs=1)
    # steps and batch norm on the same 300 images, and 397 for validation
    assert found[0].image_passes == 300 + 397
    # an epoch of 256 images, the teacher's answers to them, and validation again
    assert found[1].image_passes == found[0].image_passes + 3 * 256 + 256 + 397
    # the same images once more, with the teacher's answers at hand
    again = measurements(worker, every_layer(evaluator, activation_bits=4), epochs=1)
    assert again[1].image_passes == found[1].image_passes - 256


def test_the_same_seed_gives_the_same_figures_whatever_else_runs_and_another_seed_others(evaluator: Evaluator) -> None:
    configuration = pruned(evaluator, 0.5)

    def figures(seed: int) -> list[tuple[float, float]]:
        found = []
        for _, measurement in fresh(evaluator, images_per_epoch=256).run(configuration, seed=seed, epochs=2):
            found.append((measurement.metrics["accuracy"], measurement.metrics["loss"]))
            torch.rand(3)  # someone else in this process draws numbers
        return found

    first = figures(1)
    torch.manual_seed(99)
    assert figures(1) == first
    assert figures(2) != first


@pytest.mark.parametrize("settings", [{}, {"gradient_bits": 6}, {"hint_weight": 0.5}], ids=["plain", "gradient_bits", "hints"])
def test_looking_within_an_epoch_changes_nothing_of_what_is_trained(evaluator: Evaluator, settings: dict[str, Any]) -> None:
    def trained(levels: tuple[float, ...]) -> tuple[list[Measurement], torch.Tensor]:
        worker = fresh(evaluator, images_per_epoch=384, calibration_images=128, **settings)
        run = worker.run(every_layer(evaluator, weight_bits=3, activation_bits=4), seed=1, epochs=2, levels=levels)
        networks, found = zip(*run, strict=True)
        return list(found), nn.utils.parameters_to_vector(networks[-1].parameters()).detach()

    whole, expected = trained(())
    # 6 steps of 64 an epoch: levels at steps 1, 2 and 9; 0, whole epochs and what lies beyond the plan are no further levels
    parts, weights = trained((0, 1 / 6, 1 / 3, 1, 1.5, 9))
    assert [m.fidelity for m in parts] == [0, 1 / 6, 1 / 3, 1, 1.5, 2]
    assert [m.is_last for m in parts] == [False] * 5 + [True]
    assert torch.equal(weights, expected)
    assert {m.fidelity: m.metrics for m in whole}.items() <= {m.fidelity: m.metrics for m in parts}.items()
    assert parts[-1].image_passes == whole[-1].image_passes + 3 * 397  # looking has its price


def test_a_trial_costs_about_what_is_planned(evaluator: Evaluator) -> None:
    worker = fresh(evaluator, images_per_epoch=256, calibration_images=300)
    # 300 to calibrate, 2 x 3 x 256 to train, 3 x 397 to measure; 32 bits take no steps and the teacher's answers come on top
    assert worker.planned_passes(2) == 300 + 6 * 256 + 3 * 397
    assert measurements(worker, every_layer(evaluator, weight_bits=8), epochs=2)[-1].image_passes == pytest.approx(
        worker.planned_passes(2), rel=0.3
    )


def test_dropout_draws_the_same_numbers_whatever_else_runs(evaluator: Evaluator) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 10)).eval()
    workload = trace(network, (1, 8, 8))
    problem = replace(evaluator.problem, workload=workload, space=SearchSpace(workload.names, ()), methods=default_methods(None))
    dropping = replace(evaluator, problem=problem, network=network)

    def losses(others: int) -> list[float]:
        found = []
        for _, measurement in dropping.run(Configuration({}), seed=0, epochs=2):
            found.append(measurement.metrics["loss"])
            torch.rand(others)
        return found

    assert losses(0) == losses(5)


def test_a_trial_leaves_the_global_generator_and_the_teacher_alone(evaluator: Evaluator) -> None:
    state = torch.get_rng_state()
    weights = {name: value.clone() for name, value in evaluator.network.state_dict().items()}
    modes = [module.training for module in evaluator.network.modules()]
    configuration = Configuration({**pruned(evaluator, 0.5), "linear": Choice(weight_bits=3, activation_bits=3)})
    measurements(fresh(evaluator, images_per_epoch=128), configuration, epochs=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in evaluator.network.state_dict().items())
    assert [module.training for module in evaluator.network.modules()] == modes


def test_what_is_yielded_is_the_network_that_was_measured(evaluator: Evaluator) -> None:
    for network, measurement in fresh(evaluator, images_per_epoch=128).run(pruned(evaluator, 0.25), seed=0, epochs=1):
        assert isinstance(network, nn.Module)
        accuracy, loss = evaluate(network, evaluator.validation, mean=evaluator.mean, std=evaluator.std)
        assert (accuracy, loss) == (measurement.metrics["accuracy"], measurement.metrics["loss"])


def test_images_may_be_read_only(evaluator: Evaluator) -> None:
    train = evaluator.train.subset(np.arange(200))  # a copy
    train.images.flags.writeable = train.labels.flags.writeable = False
    assert len(measurements(replace(evaluator, train=train), Configuration({}), epochs=1)) == 2


@pytest.mark.parametrize("sparsity", [0.25, 0.5])
def test_calibration_repairs_part_of_what_pruning_breaks(evaluator: Evaluator, sparsity: float) -> None:
    configuration = pruned(evaluator, sparsity)
    raw = compress(evaluator.network, configuration, evaluator.problem.methods)
    before, _ = evaluate(raw, evaluator.validation, mean=evaluator.mean, std=evaluator.std)
    (calibrated,) = measurements(evaluator, configuration, epochs=0)
    assert calibrated.metrics["accuracy"] > before + 0.05


CALIBRATED = {"epochs": 0, "alpha": 1.0, "equalize": True, "reconstruct": True, "correct_bias": True}


def test_calibration_without_training_repairs_most_of_what_pruning_breaks(evaluator: Evaluator) -> None:
    configuration = every_layer(evaluator, sparsity=0.8, pattern="fine")
    (teacher,) = measurements(evaluator, Configuration({}), epochs=0)
    (plain,) = measurements(evaluator, configuration, epochs=0)
    (calibrated,) = measurements(fresh(evaluator, **CALIBRATED), configuration)
    # a share of what pruning broke, which hardly depends on how robust this machine's teacher is
    lost, left = (teacher.metrics["accuracy"] - m.metrics["accuracy"] for m in (plain, calibrated))
    assert left < lost / 3
    assert calibrated.metrics["accuracy"] > plain.metrics["accuracy"] + 0.1
    assert calibrated.metrics["loss"] < plain.metrics["loss"] / 4
    assert calibrated.image_passes > plain.image_passes


@pytest.mark.parametrize(
    "settings",
    [CALIBRATED, {"alpha": 1.0}, {"alpha": 1.0, "synthetic_images": 64, "synthetic_steps": 2}],
    ids=["calibrate", "unlabelled", "datafree"],
)
def test_without_labels_wrong_ones_change_nothing(evaluator: Evaluator, settings: dict[str, Any]) -> None:
    wrong = replace(evaluator.train, labels=(evaluator.train.labels + 1) % 10)
    small = {"images_per_epoch": 128, "epochs": 1, **settings}
    configuration = every_layer(evaluator, weight_bits=3)
    found = [measurements(fresh(replace(evaluator, train=train), **small), configuration)[-1] for train in (evaluator.train, wrong)]
    assert found[0].metrics == found[1].metrics


def test_without_data_the_training_images_change_nothing(evaluator: Evaluator) -> None:
    black = replace(evaluator.train, images=np.zeros_like(evaluator.train.images))
    settings = {"alpha": 1.0, "synthetic_images": 64, "synthetic_steps": 2, "epochs": 1}
    found = [measurements(fresh(replace(evaluator, train=t), **settings), pruned(evaluator, 0.25))[-1] for t in (evaluator.train, black)]
    assert found[0].metrics == found[1].metrics


def test_synthetic_images_teach_a_student(evaluator: Evaluator) -> None:
    worker = fresh(evaluator, alpha=1.0, synthetic_images=256, synthetic_steps=60, learning_rate=0.005)
    found = measurements(worker, pruned(evaluator, 0.5), epochs=3)
    assert found[-1].metrics["accuracy"] > found[0].metrics["accuracy"] + 0.1


def test_hints_count_the_teachers_passes_and_are_repeatable(evaluator: Evaluator) -> None:
    settings = {"hint_weight": 0.5, "attention_weight": 0.5, "images_per_epoch": 256, "calibration_images": 300}
    found = measurements(fresh(evaluator, **settings), pruned(evaluator, 0.5), epochs=1)
    assert found[1].image_passes == found[0].image_passes + 4 * 256 + 256 + 397
    torch.rand(3)
    assert measurements(fresh(evaluator, **settings), pruned(evaluator, 0.5), epochs=1)[1].metrics == found[1].metrics
    plain = measurements(fresh(evaluator, **settings | {"hint_weight": 0.0}), pruned(evaluator, 0.5), epochs=1)
    assert plain[1].metrics["loss"] != found[1].metrics["loss"]


def test_moved_and_mirrored_images_are_answered_by_the_teacher_as_the_student_sees_them(evaluator: Evaluator) -> None:
    worker, numbers = fresh(evaluator, shift=2, flip=True), np.arange(64)
    torch.manual_seed(0)
    images, labels, answers = worker._lesson(numbers)
    with torch.no_grad():
        torch.testing.assert_close(answers, evaluator.network(images))
    assert torch.equal(labels, torch.from_numpy(evaluator.train.labels[:64]))
    again, _, _ = worker._lesson(numbers)
    plain, _, _ = evaluator._lesson(numbers)
    assert not torch.equal(images, again)
    assert not torch.equal(images, plain)
    torch.testing.assert_close(images.amax((1, 2, 3)), plain.amax((1, 2, 3)), atol=0.6, rtol=0)  # ink stays ink
    assert torch.equal(worker._batch(numbers)[0], plain)  # what probes and calibration see


def test_what_is_measured_on_the_way_changes_nothing_of_the_end(evaluator: Evaluator) -> None:
    configuration, worker = pruned(evaluator, 0.5), fresh(evaluator, images_per_epoch=256, calibration_images=300)
    *_, last = measurements(worker, configuration, epochs=2)
    ((_, only),) = worker.run(configuration, seed=0, epochs=2, only_last=True)
    assert only.metrics == last.metrics
    assert (only.fidelity, only.is_last) == (2, True)
    assert worker.planned_passes(2, only_last=True) == only.image_passes == worker.planned_passes(2) - 2 * 397


def test_a_trial_on_changed_images_counts_the_teachers_passes_and_is_repeatable(evaluator: Evaluator) -> None:
    settings = {"shift": 1, "flip": True, "images_per_epoch": 256, "calibration_images": 300}
    worker = fresh(evaluator, **settings)
    found = measurements(worker, pruned(evaluator, 0.5), epochs=2)
    assert found[2].image_passes - found[1].image_passes == found[1].image_passes - found[0].image_passes == 4 * 256 + 397
    assert worker.planned_passes(2) == found[2].image_passes
    torch.rand(3)
    assert measurements(fresh(evaluator, **settings), pruned(evaluator, 0.5), epochs=2)[2].metrics == found[2].metrics
    whole = measurements(fresh(evaluator, **settings | {"hint_weight": 0.5}), pruned(evaluator, 0.5), epochs=1)
    assert whole[1].image_passes - whole[0].image_passes == 5 * 256 + 397


def test_low_bit_gradients_train_and_differ(evaluator: Evaluator) -> None:
    configuration = every_layer(evaluator, weight_bits=2, activation_bits=2)
    small = {"images_per_epoch": 512}
    exact, coarse = (measurements(fresh(evaluator, **small, gradient_bits=b), configuration, epochs=1) for b in (None, 6))
    assert coarse[1].metrics["loss"] < coarse[0].metrics["loss"]
    assert coarse[1].metrics["loss"] != exact[1].metrics["loss"]


def on(evaluator: Evaluator, hardware: HardwareModel, **finetune: Any) -> Evaluator:
    """The same evaluator with another device."""
    return fresh(replace(evaluator, problem=replace(evaluator.problem, hardware=hardware)), **finetune)


def test_a_crossbar_is_measured_on_several_devices(evaluator: Evaluator) -> None:
    configuration = every_layer(evaluator, weight_bits=4, activation_bits=8)
    crossbar = on(evaluator, load_device("isaac"), calibration_images=300)
    ((network, found),) = crossbar.run(configuration, seed=0, epochs=0)
    device = crossbar.nonidealities(configuration)
    assert device is not None
    single = [
        evaluate(on_device(network, device, draw=d), evaluator.validation, mean=evaluator.mean, std=evaluator.std)[0] for d in range(3)
    ]
    assert found.metrics["accuracy"] == pytest.approx(np.mean(single))
    assert found.metrics["accuracy_std"] == pytest.approx(np.std(single, ddof=1))
    assert set(found.metrics) == {"accuracy", "loss", "accuracy_std", *PAPER_METRICS}
    assert found.image_passes == 300 + 3 * 397
    # another trial meets the same devices
    again = measurements(crossbar, configuration, seed=0, epochs=0)
    assert again[0].metrics == found.metrics


def test_what_was_chosen_is_measured_on_devices_that_no_trial_has_met(evaluator: Evaluator) -> None:
    configuration = every_layer(evaluator, weight_bits=4, activation_bits=8)
    crossbar = on(evaluator, load_device("isaac", {"programming_sigma": 0.1}))
    ((network, found),) = crossbar.run(configuration, seed=0, epochs=0, other_devices=True)
    device = crossbar.nonidealities(configuration)
    assert device is not None
    others = [
        evaluate(on_device(network, device, draw=d), evaluator.validation, mean=evaluator.mean, std=evaluator.std)[0] for d in (3, 4, 5)
    ]
    assert found.metrics["accuracy"] == pytest.approx(np.mean(others))
    assert found.metrics["accuracy_std"] == pytest.approx(np.std(others, ddof=1))


def test_a_problem_knows_what_its_device_does_to_the_network_as_it_is(evaluator: Evaluator) -> None:
    crossbar = on(evaluator, load_device("isaac", {"programming_sigma": 0.1}))
    untouched = crossbar.untouched()
    assert untouched is not None
    (trial,) = measurements(crossbar, Configuration({}), epochs=0)
    known = crossbar.knowing(Sensitivity(1.0, 0, 0.0, ()), untouched).problem.untouched
    assert known == {"accuracy": trial.metrics["accuracy"], "loss": trial.metrics["loss"]}
    assert evaluator.untouched() is None  # a device that computes exactly


def test_without_draws_a_crossbar_counts_as_exact(evaluator: Evaluator) -> None:
    (exact,) = measurements(on(evaluator, load_device("isaac"), noise_draws=0), Configuration({}), epochs=0)
    (digital,) = measurements(evaluator, Configuration({}), epochs=0)
    assert "accuracy_std" not in exact.metrics
    assert exact.metrics["accuracy"] == digital.metrics["accuracy"]


def test_a_search_over_devices_disturbs_as_each_design_does(evaluator: Evaluator) -> None:
    hardware = load_device("isaac", axes={"programming_sigma": [0.0, 0.3]})
    crossbar = on(evaluator, hardware)
    found = [crossbar.nonidealities(Configuration({}, {"programming_sigma": sigma})) for sigma in (0.0, 0.3)]
    assert [f.programming_sigma for f in found if f] == [0.0, 0.3]
    accurate, noisy = (
        measurements(crossbar, Configuration({}, {"programming_sigma": sigma}), epochs=0)[0].metrics["accuracy"] for sigma in (0.0, 0.3)
    )
    assert noisy < accurate - 0.2


def test_training_with_noise_makes_a_network_that_bears_it(evaluator: Evaluator) -> None:
    noisy = load_device("isaac", {"programming_sigma": 0.1})
    configuration = every_layer(evaluator, weight_bits=4, activation_bits=4)
    plain, aware = (measurements(on(evaluator, noisy, noise_aware=on_off), configuration, epochs=2)[-1] for on_off in (False, True))
    assert aware.metrics["loss"] < 0.7 * plain.metrics["loss"]
    assert aware.metrics["accuracy"] > plain.metrics["accuracy"] + 0.05
    digital = measurements(fresh(evaluator, noise_aware=True, images_per_epoch=128), configuration, epochs=1)[-1]
    assert digital.metrics == measurements(fresh(evaluator, images_per_epoch=128), configuration, epochs=1)[-1].metrics


def test_a_frozen_layer_keeps_its_weights_through_repair_and_training(evaluator: Evaluator) -> None:
    name = "layer1.0.conv2"
    space = replace(evaluator.problem.space, frozen=(name,))
    frozen = replace(fresh(evaluator, reconstruct=True, correct_bias=True), problem=replace(evaluator.problem, space=space))
    four = Configuration({layer: c for layer, c in every_layer(evaluator, weight_bits=4).items() if layer != name})
    *_, (student, _) = frozen.run(four, seed=0, epochs=1)
    wanted = evaluator.network.get_submodule(name)
    layer = student.get_submodule(name)
    assert torch.equal(layer.weight, wanted.weight)  # type: ignore[arg-type]
    *_, (trained, _) = replace(frozen, problem=evaluator.problem).run(four, seed=0, epochs=1)
    assert not torch.equal(trained.get_submodule(name).weight, wanted.weight)  # type: ignore[arg-type]


LOOKING: list[tuple[dict[str, Any], dict[str, Any], float]] = [
    ({"weights": "taylor"}, {"sparsity": 0.5, "pattern": "fine"}, 3),  # forward and backward, with labels at hand
    ({"weights": "obd"}, {"sparsity": 0.5, "pattern": "fine"}, 3),
    ({"filters": "thinet"}, {"sparsity": 0.5, "pattern": "filter"}, 1),
    ({"filters": "lasso"}, {"sparsity": 0.5, "pattern": "filter"}, 1),
    ({"weights": "l1"}, {"sparsity": 0.5, "pattern": "fine"}, 0),
]


@pytest.mark.parametrize(("pruning", "knobs", "times"), LOOKING, ids=str)
def test_what_methods_look_at_is_counted(evaluator: Evaluator, pruning: dict[str, str], knobs: dict[str, Any], times: float) -> None:
    graph = normalize(evaluator.network, (1, 8, 8))
    assert graph is not None
    methods = default_methods(channel_map(graph, (1, 8, 8)), PruningSettings(**pruning))
    looking = replace(fresh(evaluator, calibration_images=64), problem=replace(evaluator.problem, methods=methods))
    (found,) = measurements(looking, Configuration({"layer1.0.conv1": Choice(**knobs)}), epochs=0)
    assert found.image_passes == 64 * times + 64 + 397  # batch norm and validation follow


def test_making_synthetic_images_is_counted_once(evaluator: Evaluator) -> None:
    worker = fresh(evaluator, alpha=1.0, synthetic_images=64, synthetic_steps=5)
    first, second = (measurements(worker, Configuration({}), epochs=0)[0].image_passes for _ in range(2))
    assert first - second == 3 * 64 * 5
