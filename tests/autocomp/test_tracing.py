"""Tracing: the layers of a network as hardware sees them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.errors import ConfigError
from autocomp.models import build
from autocomp.tracing import blank, measuring, trace
from hwmodels import Op, Pattern


class Small(nn.Module):
    """A strided, padded, grouped convolution that runs twice, and two linear layers; one of them is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8 * 2 * 3, 5)
        self.unused = nn.Linear(3, 3)
        self.stem = nn.Conv2d(3, 8, (3, 5), stride=2, padding=(1, 2))
        self.again = nn.Conv2d(8, 8, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.again(self.again(x)))
        logits: Tensor = self.linear(x.flatten(1))
        return logits


def test_the_layers_come_in_the_order_in_which_they_run_with_the_shapes_that_they_see() -> None:
    w = trace(Small(), (3, 4, 6))
    assert w.names == ("stem", "again", "linear")
    assert w.op.tolist() == [Op.CONV, Op.CONV, Op.LINEAR]
    assert w.in_channels.tolist() == [3, 8, 48]
    assert w.out_channels.tolist() == [8, 8, 5]
    assert (w.kernel_h.tolist(), w.kernel_w.tolist(), w.stride.tolist()) == ([3, 3, 1], [5, 3, 1], [2, 1, 1])
    assert (w.in_h.tolist(), w.in_w.tolist()) == ([4, 2, 1], [6, 3, 1])
    assert (w.out_h.tolist(), w.out_w.tolist()) == ([2, 2, 1], [3, 3, 1])
    assert w.groups.tolist() == [1, 4, 1]
    assert w.repeats.tolist() == [1, 2, 1]
    # 2x3 pixels x 3 inputs x 3x5 x 8 filters; twice 2x3 pixels x 2 inputs per group x 3x3 x 8 filters; 48 x 5
    assert w.macs.tolist() == [6 * 45 * 8, 2 * 6 * 18 * 8, 240]
    assert w.weights.tolist() == [360, 144, 240]


def test_resnet20_has_the_macs_and_weights_of_its_paper() -> None:
    # He 2016, section 4.2: 0.27 M parameters (batch norm and biases included); 40.8 M MACs follow from the layer table:
    # stem 32*32*27*16 = 442 368; 6 of 32*32*144*16; 16*16*144*32 + 5 of 16*16*288*32; 8*8*288*64 + 5 of 8*8*576*64; 640.
    w = trace(build("resnet20", classes=10, input_shape=(3, 32, 32)), (3, 32, 32))
    expected = 442_368 + 6 * 2_359_296 + 1_179_648 + 5 * 2_359_296 + 1_179_648 + 5 * 2_359_296 + 640
    assert w.macs.sum() == expected
    assert w.weights.sum() == pytest.approx(0.27e6, rel=0.01)


def test_a_linear_layer_on_a_sequence_runs_once_per_element() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 7)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.linear(x.flatten(2).transpose(1, 2))
            return y

    w = trace(Tokens(), (3, 4, 5))
    assert (w.in_channels.tolist(), w.out_channels.tolist(), w.out_h.tolist()) == ([3], [7], [20])
    assert w.macs.tolist() == [20 * 21]


def test_tracing_leaves_modes_hooks_gradients_and_running_statistics_as_they_were() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(8, 2)).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trace(network, (1, 4, 4), torch.randn(5, 1, 4, 4))
    assert [m.training for m in network] == [True, False, True, True, True]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(not m._forward_hooks for m in network)
    assert torch.is_grad_enabled()


def test_hooks_go_and_modes_return_when_the_network_fails() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(99, 2)).train()
    with pytest.raises(RuntimeError):
        trace(network, (1, 4, 4))
    assert network.training
    assert not network[0]._forward_hooks


def test_the_density_of_inputs_is_measured_on_images_and_is_one_without() -> None:
    same = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(same.weight)
    network = nn.Sequential(same, nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    images = torch.tensor([[1.0, -1, 2, 0], [0, -3, -1, 0]]).reshape(2, 1, 2, 2)
    # 5 of the 8 pixels are not zero, and 2 are positive
    assert trace(network, (1, 2, 2), images).activation_density.tolist() == [5 / 8, 2 / 8]
    assert trace(network, (1, 2, 2)).activation_density.tolist() == [1, 1]


def test_the_density_of_a_layer_that_runs_twice_is_the_mean_of_its_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.linear(F.relu(self.linear(x.flatten(1))))
            return y

    network = Twice()
    nn.init.eye_(network.linear.weight)
    images = torch.tensor([1.0, -1, -2, -3]).reshape(1, 1, 2, 2)  # dense at first, then one of four is left
    assert trace(network, (1, 2, 2), images).activation_density.tolist() == [(1 + 1 / 4) / 2]


def test_the_marks_of_compression_are_read_from_the_layers() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    plain = trace(network, (1, 4, 4))
    assert (plain.weight_bits.tolist(), plain.activation_bits.tolist(), plain.weight_density.tolist()) == ([32, 32], [32, 32], [1, 1])
    choices = {"0": Choice(sparsity=0.25, pattern="fine", weight_bits=4), "3": Choice(activation_bits=6)}
    marked = trace(compress(network, Configuration(choices), default_methods(None)), (1, 4, 4))
    assert marked.weight_bits.tolist() == [4, 32]
    assert marked.activation_bits.tolist() == [32, 6]
    assert marked.weight_density.tolist() == [0.75, 1]
    assert marked.pattern.tolist() == [Pattern.FINE, Pattern.DENSE]
    assert marked.index_bits.tolist() == [4, 0]


def test_a_network_without_a_layer_to_compress_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"^A network needs a convolution or a linear layer to compress, but Flatten runs none\.$"):
        trace(nn.Flatten(), (1, 4, 4))


def test_measuring_turns_gradients_off_and_gives_every_module_its_own_mode_back() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    network[0].eval()
    with measuring(network):
        assert not any(m.training for m in network.modules())
        assert not torch.is_grad_enabled()
    assert [m.training for m in network.modules()] == [True, False, True]


def test_a_blank_image_has_the_shape_asked_for_also_for_a_network_without_weights() -> None:
    assert blank(nn.Flatten(), (3, 4, 5)).shape == (1, 3, 4, 5)
