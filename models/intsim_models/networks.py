"""The network shapes that ship: [n, 1, 28, 28] floats in [0, 1] (pixel / 255) in, [n, 10] logits out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 10


def mlp() -> nn.Module:
    """784-100-10 with one ReLU: 79,510 parameters."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, CLASSES))


def lenet5() -> nn.Module:
    """LeNet-5 with ReLU and max pooling, two 5x5 convolutions and three linear layers: 61,706 parameters.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, figure 2 (there with
    tanh and average pooling).
    """
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, CLASSES),
    )


def cnn() -> nn.Module:
    """The embedded CNN, 3x3 convolutions 1-16-32-64 and a linear layer: 23,946 parameters when folded."""
    return nn.Sequential(
        *_convolution(1, 16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *_convolution(16, 32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *_convolution(32, 64),
        nn.ReLU(),
        *_classifier(64),
    )


def folded_cnn() -> nn.Module:
    """The embedded CNN as it ships, its batch normalizations folded into the convolutions: 23,946 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        *_classifier(64),
    )


def resnet8() -> nn.Module:
    """ResNet-8 with stages of 16, 32 and 64 channels and two 1x1 shortcuts: 77,418 parameters when folded.

    Source: mlcommons/tiny benchmark/training/image_classification/keras_model.py resnet_v1_eembc (there for
    32x32x3).
    """
    return nn.Sequential(
        *_convolution(1, 16),
        nn.ReLU(),
        Residual(16, 16, stride=1),
        Residual(16, 32, stride=2),
        Residual(32, 64, stride=2),
        *_classifier(64),
    )


def dscnn() -> nn.Module:
    """A depthwise-separable CNN, ReLU and ReLU6 in turn, strides 1-2-1-2-1: 35,594 parameters when folded.

    Source: mlcommons/tiny benchmark/training/keyword_spotting/keras_model.py (there 64 channels and ReLU
    throughout).
    """
    return nn.Sequential(
        *_convolution(1, 32),
        nn.ReLU(),
        *_separable(32, 64, stride=2, activation=nn.ReLU6),
        *_separable(64, 64, stride=1, activation=nn.ReLU),
        *_separable(64, 128, stride=2, activation=nn.ReLU6),
        *_separable(128, 128, stride=1, activation=nn.ReLU),
        *_classifier(128),
    )


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)): two 3x3 convolutions, and a 1x1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels_in, channels_out, stride=stride),
            nn.ReLU(),
            *_convolution(channels_out, channels_out),
        )
        same = channels_in == channels_out and stride == 1
        change = () if same else _convolution(channels_in, channels_out, size=1, stride=stride)
        self.shortcut = nn.Sequential(*change)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x[n, c, h, w] to [n, channels_out, h / stride, w / stride]."""
        return self.relu(self.body(x) + self.shortcut(x))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "cnn": cnn,
    "resnet8": resnet8,
    "dscnn": dscnn,
    "cnn_adv": cnn,
    **dict.fromkeys(("cnn_w4", "cnn_w3", "cnn_w2"), folded_cnn),
}


def build(name: str, seed: int = 0) -> nn.Module:
    """The untrained network `name`, its weights drawn by torch from `seed`, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name]().eval()


def parameters(network: nn.Module) -> int:
    """Weights and biases left when every batch normalization is folded into the convolution before it."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return sum(p.numel() for p in network.parameters()) - sum(norm.weight.numel() for norm in norms)


def _convolution(
    channels_in: int, channels_out: int, *, size: int = 3, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    return (
        nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
    )


def _separable(
    channels_in: int, channels_out: int, *, stride: int, activation: Callable[[], nn.Module]
) -> tuple[nn.Module, ...]:
    return (
        *_convolution(channels_in, channels_in, stride=stride, groups=channels_in),
        activation(),
        *_convolution(channels_in, channels_out, size=1),
        activation(),
    )


def _classifier(channels: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
