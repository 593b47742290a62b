"""Two small classifiers of square colour images: a residual network and a vision transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidlr.workloads.vit import Block

__all__ = ["ColourVit", "SmallResNet"]


class SmallResNet(nn.Module):
    """He et al.'s CIFAR form (arXiv 1512.03385, section 4.2): three stages, each half the side and twice as wide.

    Args:
        width: channels of the first stage.
        blocks: residual blocks a stage, of two convolutions; 3 make ResNet-20.
        classes: outputs.

    Example:
        >>> SmallResNet(width=4, blocks=1)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(self, *, width: int, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        widths = [width, width, 2 * width, 4 * width]
        self.stages = nn.Sequential(
            *(
                _ResidualBlock(
                    widths[stage] if first else widths[stage + 1], widths[stage + 1], halve=first and stage > 0
                )
                for stage in range(3)
                for first in [True] + [False] * (blocks - 1)
            )
        )
        self.head = nn.Linear(4 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Class scores, (n, classes), of images, (n, 3, side, side)."""
        features = self.stages(functional.relu(self.stem(images)))
        scores: Tensor = self.head(features.mean((2, 3)))
        return scores


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to the input, which is subsampled and padded with zeros where shapes differ."""

    def __init__(self, entering: int, leaving: int, *, halve: bool) -> None:
        super().__init__()
        self.stride = 2 if halve else 1
        self.padding = leaving - entering
        self.conv1 = nn.Conv2d(entering, leaving, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(leaving)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(leaving)

    def forward(self, features: Tensor) -> Tensor:
        change = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(features)))))
        kept = features[:, :, :: self.stride, :: self.stride]
        if self.padding:
            kept = functional.pad(kept, (0, 0, 0, 0, 0, self.padding))
        return functional.relu(kept + change)


class ColourVit(nn.Module):
    """The package's vision transformer for three channels: patches, learned positions, pre-norm blocks, mean, head.

    Args:
        image: side of the square images (pixels).
        patch: side of a patch (pixels); divides `image`.
        width: size of a token.
        depth: number of blocks.
        heads: attention heads; divides `width`.
        classes: outputs.

    Example:
        >>> ColourVit(image=16, patch=4, width=8, depth=1, heads=2)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 10])
    """

    def __init__(self, *, image: int, patch: int, width: int, depth: int, heads: int, classes: int = 10) -> None:
        super().__init__()
        self.patch = patch
        self.patch_embed = nn.Linear(3 * patch * patch, width)
        self.position_embed = nn.Parameter(torch.empty((image // patch) ** 2, width))
        # As large as a patch's own token: from 0.02 a run of some hundred steps spends half of them finding places.
        nn.init.normal_(self.position_embed, std=0.5)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores, (n, classes), of images, (n, 3, side, side)."""
        patches = functional.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        tokens = self.patch_embed(patches) + self.position_embed
        scores: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return scores
