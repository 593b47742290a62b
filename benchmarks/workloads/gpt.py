"""A small causal transformer over characters, in the plain pre-norm form of GPT-2."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CharacterGpt"]


class CharacterGpt(nn.Module):
    """Token and position embeddings, pre-norm blocks, a linear head of its own.

    Args:
        vocabulary: number of characters.
        context: longest sequence.
        width: size of a token.
        depth: number of blocks.
        heads: attention heads; divides `width`.

    Example:
        >>> CharacterGpt(5, context=4, width=8, depth=1, heads=2)(torch.zeros(3, 4, dtype=torch.int64)).shape
        torch.Size([3, 4, 5])
    """

    def __init__(self, vocabulary: int, *, context: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        # GPT-2's 0.02 belongs to its width of 768: a layer's outputs have the same size here.
        std = 0.02 * (768 / width) ** 0.5
        self.apply(partial(_initialise, std=std))
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.out.weight", "mlp.2.weight")):
                # GPT-2: what a block adds shrinks with the number of additions, so the stream's size does not grow.
                nn.init.normal_(parameter, std=std / (2 * depth) ** 0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the next character, (n, length, vocabulary), after characters (n, length)."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        stream = self.token_embedding(tokens) + self.position_embedding(positions)
        scores: Tensor = self.head(self.norm(self.blocks(stream)))
        return scores


class _Block(nn.Module):
    """Causal attention and a perceptron (ratio 4), each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = _CausalAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, stream: Tensor) -> Tensor:
        stream = stream + self.attention(self.norm1(stream))
        out: Tensor = stream + self.mlp(self.norm2(stream))
        return out


class _CausalAttention(nn.Module):
    """Multi-head self-attention that looks back only."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, stream: Tensor) -> Tensor:
        n, length, width = stream.shape
        query, key, value = self.qkv(stream).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return out


def _initialise(module: nn.Module, *, std: float) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
