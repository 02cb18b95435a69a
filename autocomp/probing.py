"""Probing: what a configuration costs before any training, on a few images.

A network is compressed as for a trial and measured at once. Every batch norm takes the statistics of the very images, which is batch-norm
re-estimation and measurement in one pass; activation steps are fitted in that pass, too. What lies before the first layer that a
configuration changes answers as ever, so that it is computed once for many configurations (the *cut* is where they begin to differ).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from autocomp.choice import Configuration
from autocomp.compression import Calibration, Method, calibrate, compress
from autocomp.compression.quantization import input_quantizers
from autocomp.compression.repair import repair
from autocomp.sensitivity import Probe
from autocomp.tracing import measuring

BATCH = 128  # images per pass, as in calibration
Known = Mapping[str, Any]  # values of a graph's nodes, by name


@dataclass(frozen=True)
class Probed:
    """What became of some configurations.

    Attributes:
        accuracy: of the untouched network on the same images, 0 to 1.
        probes: what was measured.
        failures: why each of the others was not, in one line, by its key.
    """

    accuracy: float
    probes: tuple[Probe, ...]
    failures: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class _Untouched:
    """What is computed once for several configurations.

    Attributes:
        certain: log-probabilities of the untouched network, ``n x classes``.
        labels: that accuracy is measured on, ``n``.
        known: what is known at each cut, by batch.
        passes: of images, which the configurations share.
    """

    certain: Tensor
    labels: Tensor
    known: Sequence[Mapping[str, Known]]
    passes: float


@dataclass(frozen=True, eq=False)
class Prober:
    """Measures configurations one after the other; deterministic, cheap to ship.

    Attributes:
        network: what is compressed, in evaluation mode; never changed.
        methods: in order.
        images: normalised, ``n x c x h x w``.
        labels: ``n``; None where none may be read, and then the untouched network's answers take their place.
        shares: what share of the network's MACs lies in a layer and behind it, by layer.
        reconstruct, correct_bias, frozen: what is repaired before anything is measured; see `autocomp.compression.repair`.
    """

    network: nn.Module
    methods: tuple[Method, ...]
    images: Tensor
    labels: Tensor | None
    shares: Mapping[str, float]
    reconstruct: bool = False
    correct_bias: bool = False
    frozen: tuple[str, ...] = ()

    def __call__(self, configurations: Sequence[Configuration]) -> Probed:
        """Measure some configurations; fastest where the first layer that they change is the same one."""
        cuts = {configuration.key: self._cut(configuration) for configuration in configurations}
        untouched = self._untouched(set(cuts.values()))
        each = untouched.passes / max(len(configurations), 1)
        probes, failures = [], {}
        for configuration in configurations:
            try:
                probe = self._probe(configuration, cuts[configuration.key], untouched)
                probes.append(replace(probe, image_passes=probe.image_passes + each))
            except Exception as error:  # one that cannot be built says nothing about the others
                failures[configuration.key] = f"{type(error).__name__}: {error}".splitlines()[0]
        return Probed(_accuracy(untouched.certain, untouched.labels), tuple(probes), failures)

    def _probe(self, configuration: Configuration, cut: str, untouched: _Untouched) -> Probe:
        student, passes = self._compressed(configuration)
        parts = zip(self._batches(), untouched.known, strict=True)
        with _measured_by_batch(student):
            logits = torch.cat([_run_behind(student, cut, before.get(cut, {}), images) for images, before in parts])
        answers = logits.double().log_softmax(1)
        loss = float((untouched.certain.exp() * (untouched.certain - answers)).sum(1).mean())
        if not loss < float("inf"):
            raise ValueError("the network's answers are no numbers")
        share = max((self.shares.get(layer, 1.0) for layer in configuration), default=1.0) if cut else 1.0
        return Probe(configuration, max(loss, 0.0), _accuracy(answers, untouched.labels), passes + share * len(self.images))

    def _compressed(self, configuration: Configuration) -> tuple[nn.Module, float]:
        """The network ready to be measured, and the images that went through a network for it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            calibration = Calibration(self.images, self.labels)
            student = compress(self.network, configuration, self.methods, calibration)
            passes = sum(calibration.passes)
            if self.reconstruct or self.correct_bias:
                passes += calibrate(student, self.images)
            fits = {"layers": self.reconstruct, "biases": self.correct_bias}
            passes += repair(student, self.network, self.images, **fits, frozen=self.frozen)
        for quantizer in input_quantizers(student):
            quantizer.observe = not quantizer.is_on
        return student, float(passes)

    def _batches(self) -> tuple[Tensor, ...]:
        return torch.tensor_split(self.images, -(-len(self.images) // BATCH))

    def _untouched(self, cuts: Collection[str]) -> _Untouched:
        network, passes = self._compressed(Configuration({}))
        known: list[Mapping[str, Known]] = [{} for _ in self._batches()]
        with _measured_by_batch(network):
            if isinstance(network, fx.GraphModule):
                recorders = [_Recorder(network, cuts) for _ in self._batches()]
                logits = torch.cat([recorder.run(images) for recorder, images in zip(recorders, self._batches(), strict=True)])
                known = [recorder.kept for recorder in recorders]
            else:
                logits = torch.cat([network(images) for images in self._batches()])
        certain = logits.double().log_softmax(1)
        return _Untouched(certain, certain.argmax(1) if self.labels is None else self.labels, known, passes + len(self.images))

    def _cut(self, configuration: Configuration) -> str:
        """The node where a changed layer is used first; empty where everything must be computed anew."""
        if self.reconstruct or self.correct_bias or not isinstance(self.network, fx.GraphModule):
            return ""
        nodes = (node for node in self.network.graph.nodes if node.op in {"call_module", "get_attr"})
        return next((node.name for node in nodes if any(_overlap(str(node.target), layer) for layer in configuration)), "")


def _overlap(target: str, layer: str) -> bool:
    """Whether a node's module is a layer, a part of it, or has it inside."""
    return f"{target}.".startswith(f"{layer}.") or f"{layer}.".startswith(f"{target}.")


def _accuracy(answers: Tensor, labels: Tensor) -> float:
    return float((answers.argmax(1) == labels).double().mean())


@contextmanager
def _measured_by_batch(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which batch norm goes by the images at hand."""
    with measuring(network):
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.training = True
        yield


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps what it has at hand just before some of its nodes."""

    def __init__(self, graph: fx.GraphModule, cuts: Collection[str]) -> None:
        super().__init__(graph)
        self.cuts = cuts
        self.kept: dict[str, Known] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.name in self.cuts:
            self.kept[n.name] = {node.name: _copied(value) for node, value in self.env.items()}
        return super().run_node(n)


def _run_behind(student: nn.Module, cut: str, known: Known, images: Tensor) -> Tensor:
    """The logits of a network, of which everything before the cut is known."""
    if not known or not isinstance(student, fx.GraphModule):
        whole: Tensor = student(images)
        return whole
    before = itertools.takewhile(lambda node: node.name != cut, student.graph.nodes)
    logits: Tensor = fx.Interpreter(student).run(images, initial_env={node: _copied(known.get(node.name)) for node in before})
    return logits


def _copied(value: Any) -> Any:
    """A value that nobody else can change in place."""
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, value)
