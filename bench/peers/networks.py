"""The subjects of bench/peers as PyTorch modules: a block of DiT, whole DiTs and MiniT2I.

They are written from the papers; the names of parameters are those of the published checkpoints,
from which the weights follow by the formula of package internal/formula, as they do in the program
that is compared. Attention is PyTorch's scaled_dot_product_attention."""
import math

import numpy
import torch
from torch.nn import functional as F

SIZES = {"s": (384, 6, 12), "xl": (1152, 16, 28)}  # width, heads, blocks
BATCH, GRID, PATCH, CHANNELS, CLASSES = 2, 16, 2, 4, 1000
TOKENS = GRID * GRID


def uniform(name, offset, scale, count):
    """Pseudorandom numbers in offset±scale that follow from a name."""
    seed = 2166136261
    for b in name.encode():
        seed = (seed ^ b) * 16777619 & 0xFFFFFFFF
    out = numpy.empty(count, numpy.float32)
    for start in range(0, count, 1 << 20):  # in pieces that fit the caches
        v = numpy.arange(start, min(start + (1 << 20), count), dtype=numpy.uint32) * numpy.uint32(0x9E3779B1) + numpy.uint32(seed)
        v ^= v >> numpy.uint32(16)
        v *= numpy.uint32(0x85EBCA6B)
        v ^= v >> numpy.uint32(13)
        v *= numpy.uint32(0xC2B2AE35)
        v ^= v >> numpy.uint32(16)
        out[start : start + len(v)] = offset + scale * (v.astype(numpy.float64) / 2.0**31 - 1)
    return out


def fill(module, prefix):
    """Gives the parameters the values that follow from prefix and their names."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            name, offset, scale = prefix + name, 0.0, 0.1
            if "embedding_table" in name:
                scale = 0.5
            elif p.dim() >= 2:
                scale = math.sqrt(3 / (p.numel() // p.shape[0]))
            elif "norm" in name and name.endswith("weight"):
                offset = 1.0
            p.copy_(torch.from_numpy(uniform(name, offset, scale, p.numel())).view(p.shape))
    return module.eval()


def tensor(name, scale, *shape):
    """An input in ±scale that follows from its name."""
    return torch.from_numpy(uniform(name, 0, scale, math.prod(shape))).view(shape)


def positions(side, width):
    """Sines and cosines of the column, then of the row: [side*side, width]."""
    quarter = width // 4
    at = torch.arange(side, dtype=torch.float64)[:, None] * 10000 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    wave = torch.cat([at.sin(), at.cos()], 1)
    return torch.cat([wave.repeat(side, 1), wave.repeat_interleave(side, 0)], 1).float()


def waves(t):
    """The cosines and sines of timesteps: [batch, 256]."""
    angles = t[:, None] * torch.exp(-math.log(10000) * torch.arange(128, dtype=torch.float32) / 128)
    return torch.cat([angles.cos(), angles.sin()], -1)


def heads_of(x, heads):
    """Queries, keys and values [batch, tokens, 3*width] as three tensors [batch, heads, tokens, width/heads]."""
    batch, tokens, width = x.shape
    return x.view(batch, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4).unbind(0)


def joined(x):
    """[batch, heads, tokens, d] as [batch, tokens, heads*d]."""
    return x.transpose(1, 2).flatten(2)


class Block(torch.nn.Module):
    """A DiT block, section 3.2 of the paper (adaLN-Zero)."""

    def __init__(self, width, heads):
        super().__init__()
        linear = torch.nn.Linear
        self.heads = heads
        self.norm = torch.nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.adaLN_modulation = torch.nn.ModuleDict({"1": linear(width, 6 * width)})
        self.attn = torch.nn.ModuleDict({"qkv": linear(width, 3 * width), "proj": linear(width, width)})
        self.mlp = torch.nn.ModuleDict({"fc1": linear(width, 4 * width), "fc2": linear(4 * width, width)})

    def forward(self, x, c):  # c has passed SiLU
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation["1"](c).unsqueeze(1).chunk(6, dim=-1)
        q, k, v = heads_of(self.attn["qkv"](self.norm(x) * (1 + scale1) + shift1), self.heads)
        x = x + gate1 * self.attn["proj"](joined(F.scaled_dot_product_attention(q, k, v)))
        hidden = F.gelu(self.mlp["fc1"](self.norm(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.mlp["fc2"](hidden)


class DiT(torch.nn.Module):
    """A whole DiT with learned variance, for latents of 32 x 32 and patches of 2 x 2. Timesteps come
    as the sines and cosines that waves makes, whose angles bfloat16 cannot hold."""

    def __init__(self, width, heads, depth):
        super().__init__()
        linear = torch.nn.Linear
        self.x_embedder = torch.nn.ModuleDict({"proj": torch.nn.Conv2d(CHANNELS, width, PATCH, PATCH)})
        self.t_embedder = torch.nn.ModuleDict({"mlp": torch.nn.Sequential(linear(256, width), torch.nn.SiLU(), linear(width, width))})
        self.y_embedder = torch.nn.ModuleDict({"embedding_table": torch.nn.Embedding(CLASSES + 1, width)})
        self.blocks = torch.nn.ModuleList([Block(width, heads) for _ in range(depth)])
        last = {"linear": linear(width, PATCH * PATCH * 2 * CHANNELS), "adaLN_modulation": torch.nn.ModuleDict({"1": linear(width, 2 * width)})}
        self.final_layer = torch.nn.ModuleDict(last)
        self.norm = torch.nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.register_buffer("position", positions(GRID, width))

    def forward(self, x, t, y):
        x = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.position
        c = F.silu(self.t_embedder["mlp"](t) + self.y_embedder["embedding_table"](y))
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.final_layer["adaLN_modulation"]["1"](c).unsqueeze(1).chunk(2, dim=-1)
        x = self.final_layer["linear"](self.norm(x) * (1 + scale) + shift)
        x = x.view(-1, GRID, GRID, PATCH, PATCH, 2 * CHANNELS).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(-1, 2 * CHANNELS, GRID * PATCH, GRID * PATCH)


class RMSNorm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class SwiGLU(torch.nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.w1, self.w3 = torch.nn.Linear(width, hidden, bias=False), torch.nn.Linear(width, hidden, bias=False)
        self.w2 = torch.nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


def rotate(x, turn):
    """Turns [batch, heads, tokens, d] by the cosines and sines [tokens, d/2] of angles."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = turn[0].to(x.dtype), turn[1].to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Stream(torch.nn.Module):
    """The layers of a block for tokens of one kind, under names that begin with prefix."""

    def __init__(self, prefix, width, hidden):
        super().__init__()
        self.prefix = prefix
        layers = {
            "norm1": RMSNorm(width),
            "qkv": torch.nn.Linear(width, 3 * width),
            "attn_proj": torch.nn.Linear(width, width),
            "norm2": RMSNorm(width),
            "mlp": SwiGLU(width, hidden),
        }
        for name, layer in layers.items():
            self.add_module(prefix + name, layer)

    def layer(self, name):
        return getattr(self, self.prefix + name)


class TextBlock(Stream):
    def __init__(self, width, heads, hidden):
        super().__init__("", width, hidden)
        self.heads = heads
        self.q_norm, self.k_norm = RMSNorm(width // heads), RMSNorm(width // heads)

    def forward(self, x, turn):
        q, k, v = heads_of(self.qkv(self.norm1(x)), self.heads)
        attended = F.scaled_dot_product_attention(rotate(self.q_norm(q), turn), rotate(self.k_norm(k), turn), v)
        x = x + self.attn_proj(joined(attended))
        return x + self.mlp(self.norm2(x))


class JointBlock(torch.nn.Module):
    """A block of text and image, which have weights of their own and attend to all tokens."""

    def __init__(self, width, heads, hidden, last):
        super().__init__()
        self.heads, self.last = heads, last
        for prefix in ("img_", "txt_"):
            for name, layer in Stream(prefix, width, hidden).named_children():
                self.add_module(name, layer)
        self.q_norm, self.k_norm = RMSNorm(width // heads), RMSNorm(width // heads)

    def forward(self, img, txt, turn_text, turn_image):
        q, k, v = heads_of(self.img_qkv(self.img_norm1(img)), self.heads)
        tq, tk, tv = heads_of(self.txt_qkv(self.txt_norm1(txt)), self.heads)
        q = rotate(self.q_norm(q), turn_image)
        if not self.last:  # after it nothing reads the text
            q = torch.cat([rotate(self.q_norm(tq), turn_text), q], 2)
        k = torch.cat([rotate(self.k_norm(tk), turn_text), rotate(self.k_norm(k), turn_image)], 2)
        attended = joined(F.scaled_dot_product_attention(q, k, torch.cat([tv, v], 2)))
        if not self.last:
            length = txt.shape[1]
            txt = txt + self.txt_attn_proj(attended[:, :length])
            txt = txt + self.txt_mlp(self.txt_norm2(txt))
            attended = attended[:, length:]
        img = img + self.img_attn_proj(attended)
        return img + self.img_mlp(self.img_norm2(img)), txt


class MiniT2I(torch.nn.Module):
    """MiniT2I-B/16 at 512 pixels. forward takes texts that prepare has made ready, as they do not
    change between steps."""

    SIDE, PATCH, WIDTH, HEADS, DEPTH, TEXT_DEPTH, HIDDEN, BOTTLENECK, TEXT_WIDTH, TEXT_TOKENS = 512, 16, 768, 12, 17, 2, 2048, 128, 1024, 256

    def __init__(self):
        super().__init__()
        linear, conv, width = torch.nn.Linear, torch.nn.Conv2d, self.WIDTH
        grid = self.SIDE // self.PATCH
        embedder = {"proj1": conv(3, self.BOTTLENECK, self.PATCH, self.PATCH, bias=False), "proj2": conv(self.BOTTLENECK, width, 1)}
        self.img_embedder = torch.nn.ModuleDict(embedder)
        self.mask_token = torch.nn.Parameter(torch.empty(1, 1, self.TEXT_WIDTH))
        self.txt_embedder = linear(self.TEXT_WIDTH, width, bias=False)
        self.txt_preamble_blocks = torch.nn.ModuleList([TextBlock(width, self.HEADS, self.HIDDEN) for _ in range(self.TEXT_DEPTH)])
        self.double_blocks = torch.nn.ModuleList(
            [JointBlock(width, self.HEADS, self.HIDDEN, i == self.DEPTH - 1) for i in range(self.DEPTH)])
        self.final_layer = torch.nn.ModuleDict({"norm_final": RMSNorm(width), "linear": linear(width, self.PATCH**2 * 3)})
        self.register_buffer("position", positions(grid, width))
        d = width // self.HEADS
        text = torch.arange(self.TEXT_TOKENS, dtype=torch.float64)[:, None] * 10000 ** (-2 * torch.arange(d // 2, dtype=torch.float64) / d)
        axis = torch.arange(grid, dtype=torch.float64)[:, None] * 10000 ** (-4 * torch.arange(d // 4, dtype=torch.float64) / d)
        image = torch.cat([axis.repeat_interleave(grid, 0), axis.repeat(grid, 1)], 1)
        self.register_buffer("turn_text", torch.stack([text.cos(), text.sin()]).float())
        self.register_buffer("turn_image", torch.stack([image.cos(), image.sin()]).float())

    def prepare(self, text, mask):
        """Texts [batch, tokens, TEXT_WIDTH], of which mask marks what is no padding, up to the first joint block."""
        x = self.txt_embedder(torch.where(mask[..., None] > 0.5, text, self.mask_token))
        for block in self.txt_preamble_blocks:
            x = block(x, self.turn_text)
        return x

    def forward(self, x, text):
        x = self.img_embedder["proj2"](self.img_embedder["proj1"](x)).flatten(2).transpose(1, 2) + self.position
        for block in self.double_blocks:
            x, text = block(x, text, self.turn_text, self.turn_image)
        x = self.final_layer["linear"](self.final_layer["norm_final"](x))
        grid = self.SIDE // self.PATCH
        x = x.view(-1, grid, grid, self.PATCH, self.PATCH, 3).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(-1, 3, self.SIDE, self.SIDE)


def build(subject):
    """A subject's module, without weights that mean anything, and what its parameters' names begin with."""
    if subject == "minit2i-b16":
        return MiniT2I(), "model.net."
    kind, size = subject.split("-")[:2]
    width, heads, depth = SIZES[size]
    return (Block(width, heads), "blocks.0.") if kind == "block" else (DiT(width, heads, depth), "")


def inputs(subject, module):
    """A subject's inputs by name, for a module with weights."""
    if isinstance(module, Block):
        width = module.attn["proj"].in_features
        return {"x": tensor("input.x", math.sqrt(3), BATCH, TOKENS, width), "c": tensor("input.c", 1, BATCH, width)}
    if isinstance(module, DiT):
        side = GRID * PATCH
        x = tensor("input.x", math.sqrt(3), BATCH, CHANNELS, side, side)
        return {"x": x, "t": waves(torch.full((BATCH,), 500.0)), "y": torch.tensor([207, CLASSES])}
    text = tensor("input.text", 0.5, 1, module.TEXT_TOKENS, module.TEXT_WIDTH).repeat(BATCH, 1, 1)
    mask = torch.zeros(BATCH, module.TEXT_TOKENS)
    mask[0, :20] = 1  # the second is guidance's, without a prompt
    x = tensor("input.x", 2, 1, 3, module.SIDE, module.SIDE).repeat(BATCH, 1, 1, 1)
    with torch.inference_mode():
        return {"x": x, "text": module.prepare(text, mask).clone()}
