"""Small networks, one for each way in which channels can be tied."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHAPE = (3, 8, 8)


def conv(i: int, o: int, k: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2, **options)  # type: ignore[arg-type]


class Residual(nn.Module):
    """Two stages; the shortcut between them pads channels (option A) or is a 1x1 convolution (option B)."""

    def __init__(self, option: str) -> None:
        super().__init__()
        self.stem, self.stem_bn = conv(3, 8), nn.BatchNorm2d(8)
        self.a1, self.bn1, self.a2, self.bn2 = conv(8, 8), nn.BatchNorm2d(8), conv(8, 8), nn.BatchNorm2d(8)
        self.b1, self.bn3, self.b2, self.bn4 = conv(8, 16, stride=2), nn.BatchNorm2d(16), conv(16, 16), nn.BatchNorm2d(16)
        self.c1, self.c2 = conv(16, 12), conv(12, 16)
        self.shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2), nn.BatchNorm2d(16)) if option == "B" else None
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_bn(self.stem(x)))
        x = F.relu(x + self.bn2(self.a2(F.relu(self.bn1(self.a1(x))))))
        short = self.shortcut(x) if self.shortcut else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        x = F.relu(short + self.bn4(self.b2(F.relu(self.bn3(self.b1(x))))))
        x = F.relu(x + self.c2(F.relu(self.c1(x))))
        logits: Tensor = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


class Separable(nn.Module):
    """Depthwise convolutions, one of them with two outputs per input, and an inverted residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.expand, self.depth, self.project = conv(8, 16, 1), conv(16, 16, groups=16), conv(16, 8, 1)
        self.widen = conv(8, 16, groups=8)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem(x))
        x = x + self.project(F.relu6(self.depth(F.relu6(self.expand(x)))))
        logits: Tensor = self.head(torch.flatten(F.relu(self.widen(x)).mean([2, 3]), 1))
        return logits


class Grouped(nn.Module):
    """A ResNeXt-like block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = conv(3, 12), nn.BatchNorm2d(12)
        self.group, self.mix = conv(12, 24, groups=3), conv(24, 12, 1)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = x + self.mix(F.relu(self.group(x)))
        logits: Tensor = self.head(self.pool(x).view(x.size(0), -1))
        return logits


class Concatenated(nn.Module):
    """An Inception- and DenseNet-like network: branches are concatenated, and one is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.one, self.three, self.dense = conv(8, 6, 1), conv(8, 10), conv(24, 8)
        self.pool, self.after = nn.MaxPool2d(2), conv(32, 8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = torch.cat([x, F.relu(self.one(x)), F.relu(self.three(x))], 1)
        y = torch.cat((y, F.relu(self.dense(y))), dim=1)
        logits: Tensor = self.head(F.adaptive_avg_pool2d(self.after(self.pool(y)), (1, 1)).flatten(1))
        return logits


class Flattened(nn.Module):
    """A LeNet-like network: a feature map of more than one pixel is flattened into a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), conv(6, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


class SqueezeExcite(nn.Module):
    """A block whose channels are scaled by what two small linear layers say of them; one ReLU module serves all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = conv(3, 8), nn.BatchNorm2d(8), nn.ReLU()
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.wide, self.head = conv(8, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        scale = torch.sigmoid(self.excite(self.relu(self.squeeze(x.mean((2, 3))))))
        x = self.relu(self.wide(x * scale.unsqueeze(-1).unsqueeze(-1)))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Recurrent(nn.Module):
    """A convolution that runs twice, so that its outputs are also its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.again, self.last = conv(3, 8), conv(8, 8), conv(8, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.again(F.relu(self.again(F.relu(self.stem(x))))))
        logits: Tensor = self.head(F.relu(self.last(x)).mean((2, 3)))
        return logits


class Shuffled(nn.Module):
    """A ShuffleNet-like block (chunk, branch, concatenate, shuffle); only the layers behind it are free."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = conv(3, 8), conv(4, 4)
        self.after, self.last = conv(8, 12), conv(12, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.relu(self.stem(x)).chunk(2, 1)
        x = torch.cat([left, F.relu(self.branch(right))], 1)
        x = x.view(x.size(0), 2, 4, x.size(2), x.size(3)).transpose(1, 2).flatten(1, 2)
        logits: Tensor = self.head(F.relu(self.last(F.relu(self.after(x)))).mean((2, 3)))
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "option_a": lambda: Residual("A"),
    "option_b": lambda: Residual("B"),
    "depthwise": Separable,
    "grouped": Grouped,
    "concatenated": Concatenated,
    "flattened": Flattened,
    "squeeze_excite": SqueezeExcite,
    "recurrent": Recurrent,
    "shuffled": Shuffled,
}


def weight_of(network: nn.Module, layer: str = "0") -> Tensor:
    """The weight that a layer computes with, without its history."""
    weight = network.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def built(name: str, seed: int = 0) -> nn.Module:
    """A network with random weights and batch-norm statistics, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name]()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (module.weight, module.bias, module.running_mean, module.running_var):
                    assert values is not None
                    values.data.uniform_(0.5, 1.5)
    return network.eval()
