"""Small models in the shapes that people write, with the names that timm and others give."""

import torch
from torch import Tensor, nn


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 4 * width)
        self.proj = nn.Linear(4 * width, width)


class CausalSelfAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)


class Mixer(CausalSelfAttention):
    """Attention under a class name that does not say so."""


class Nameless(nn.Module):
    """Attention of which neither class nor attributes say so: only the shapes are left."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, 3 * width)
        self.second = nn.Linear(width, width)


class Separate(nn.Module):
    """Grouped-query attention: keys and values are narrower than queries."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width // 2)
        self.to_v = nn.Linear(width, width // 2)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))


class Block(nn.Module):
    def __init__(self, width: int, mixer: type[nn.Module]) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = mixer(width)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)


class Decoder(nn.Module):
    """A hand-written language model."""

    def __init__(self, mixer: type[nn.Module] = CausalSelfAttention, depth: int = 2, tied: bool = False) -> None:
        super().__init__()
        self.tokens = nn.Embedding(12, 8)
        self.wpe = nn.Parameter(torch.zeros(1, 5, 8))
        self.blocks = nn.ModuleList([Block(8, mixer) for _ in range(depth)])
        self.ln_f = nn.LayerNorm(8)
        self.output = nn.Linear(8, 12, bias=False)
        if tied:
            self.output.weight = self.tokens.weight


class FlatBlock(nn.Module):
    """Attention and feed-forward side by side in one class."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)


class PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, 8, kernel_size=4, stride=4)
        self.norm = nn.Identity()


class TimmAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.q_norm = nn.LayerNorm(4)
        self.k_norm = nn.LayerNorm(4)
        self.proj = nn.Linear(8, 8)


class LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(8))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(16, 8)


class TimmBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(8)
        self.attn = TimmAttention()
        self.ls1 = LayerScale()
        self.norm2 = nn.LayerNorm(8)
        self.mlp = Mlp()


class VisionTransformer(nn.Module):
    """timm's distilled ViT: blocks in a Sequential, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.zeros(1, 6, 8))
        self.blocks = nn.Sequential(TimmBlock(), TimmBlock())
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 10)
        self.head_dist = nn.Linear(8, 10)


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """timm's and torchvision's ResNet: stages are attributes, blocks sit in Sequentials."""

    def __init__(self, stages: tuple[int, int] = (2, 1)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(*[BasicBlock(4, 4) for _ in range(stages[0])])
        self.layer2 = nn.Sequential(BasicBlock(4, 8), *[BasicBlock(8, 8) for _ in range(stages[1] - 1)])
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 10)


class FeatureNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, 4)
        self.out = nn.Linear(4, 1)


class AdditiveModel(nn.Module):
    """A neural additive model: one small network per feature, their sum, and a bias."""

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        self.nets = nn.ModuleList([FeatureNet() for _ in range(features)])
        self.bias = nn.Parameter(torch.zeros(1))


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
        self.policy = nn.Linear(16, 3)
        self.value = nn.Linear(16, 1)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.rnn = nn.LSTM(4, 8, num_layers=2)
        self.dense = nn.Linear(8, 2)


class Forecaster(nn.Module):
    """A transformer on numbers: a linear map takes the place of an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(8, 1)


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 3)
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.out = nn.Conv2d(4, 2, 1)


class RootMeanSquare(nn.Module):
    """A norm whose class name does not say so."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = 1e-6


class GraphConvolution(nn.Module):
    """A hand-written linear map, held as (in, out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))


class LoRALinear(nn.Module):
    """A hand-written LoRA layer, with the shortest names."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.A = nn.Parameter(torch.zeros(inputs, 2))
        self.B = nn.Parameter(torch.zeros(2, outputs))


class LoRAParametrization(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.zeros(2, inputs))
        self.lora_B = nn.Parameter(torch.zeros(outputs, 2))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.lora_B @ self.lora_A


class Shell(nn.Module):
    """What a LightningModule does: the model is an attribute, the metric has no parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.metric = nn.CrossEntropyLoss()


class Wrapper(nn.Module):
    """What DDP and its kin do."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
