"""LeNets as they are used in work on pruning."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autocomp.errors import ConfigError


class LeNet300(nn.Module):
    """LeNet-300-100: a perceptron with two hidden layers; 266 200 weights and 410 biases on MNIST (LeCun et al. 1998).

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        hidden: neurons of both layers.
    """

    def __init__(self, classes: int, input_shape: tuple[int, int, int], *, hidden: tuple[int, int] = (300, 100)) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.fc1 = nn.Linear(channels * height * width, hidden[0])
        self.fc2 = nn.Linear(*hidden)
        self.fc3 = nn.Linear(hidden[1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))
        logits: torch.Tensor = self.fc3(x)
        return logits


class LeNet5(nn.Module):
    """Caffe's LeNet-5: convolutions of 20 and 50 filters 5x5, then 500 neurons; 431 080 weights on MNIST.

    This is the variant that Deep Compression (Han et al., ICLR 2016, table 2) and most later work on pruning calls
    LeNet-5, not the one of LeCun et al. 1998 (6 and 16 filters). As usual today, ReLU follows the convolutions too.

    Args:
        classes: number of outputs.
        input_shape: channels, height and width of an image.
        filters: of both convolutions.
        hidden: neurons of the hidden layer.

    Raises:
        ConfigError: the images are too small.
    """

    def __init__(self, classes: int, input_shape: tuple[int, int, int], *, filters: tuple[int, int] = (20, 50), hidden: int = 500) -> None:
        super().__init__()
        channels, *sides = input_shape
        height, width = (((side - 4) // 2 - 4) // 2 for side in sides)  # a 5x5 kernel takes 4 pixels, pooling halves
        if min(height, width) < 1:
            raise ConfigError(f"lenet5 needs images of at least 16x16, but these are {sides[0]}x{sides[1]}; set task.image_size.")
        self.conv1 = nn.Conv2d(channels, filters[0], 5)
        self.conv2 = nn.Conv2d(*filters, 5)
        self.fc1 = nn.Linear(filters[1] * height * width, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of images."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        logits: torch.Tensor = self.fc2(x)
        return logits
