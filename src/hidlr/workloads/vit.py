"""A small vision transformer, in the plain form of Dosovitskiy et al. (arXiv 2010.11929), pre-norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["VisionTransformer"]


class VisionTransformer(nn.Module):
    """Patches, learned positions, pre-norm blocks, mean over tokens, a linear head.

    Args:
        image: side of the square, one-channel images (pixels).
        patch: side of a patch (pixels); divides `image`.
        width: size of a token.
        depth: number of blocks.
        heads: attention heads; divides `width`.
        classes: outputs.

    Example:
        >>> VisionTransformer(width=8, depth=1, heads=2)(torch.zeros(3, 8, 8)).shape
        torch.Size([3, 10])
    """

    def __init__(
        self,
        *,
        image: int = 8,
        patch: int = 2,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.patch_embed = nn.Linear(patch * patch, width)
        self.position_embed = nn.Parameter(torch.empty((image // patch) ** 2, width))
        nn.init.trunc_normal_(self.position_embed, std=0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores, (n, classes), of images, (n, side, side)."""
        side = images.shape[-1] // self.patch
        patches = images.reshape(-1, side, self.patch, side, self.patch).transpose(2, 3)
        tokens = self.patch_embed(patches.reshape(len(images), side * side, -1)) + self.position_embed
        scores: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return scores


class Block(nn.Module):
    """Self-attention and a perceptron (ratio 2), each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """New tokens, same shape."""
        tokens = tokens + self.attention(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mixed tokens, same shape (n, length, width)."""
        n, length, width = tokens.shape
        query, key, value = self.qkv(tokens).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return out
