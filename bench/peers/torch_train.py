"""Training of a DiT in PyTorch, from the paper (adaLN-Zero, learned variance): torch_train.py SIDE CHANNELS PATCH WIDTH DEPTH HEADS CLASSES BATCH.

It answers every line on standard input with the median milliseconds of some updates: noise, forward pass, squared error and variational bound, backward
pass, gradient clipping, AdamW, moving average."""
import math
import statistics
import sys
import time

import torch

side, channels, patch, width, depth, heads, classes, batch = map(int, sys.argv[1:])
torch.set_num_threads(2)
torch.manual_seed(0)
tokens = (side // patch) ** 2


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = torch.nn.Linear(width, 6 * width)
        self.qkv = torch.nn.Linear(width, 3 * width)
        self.proj = torch.nn.Linear(width, width)
        self.fc1 = torch.nn.Linear(width, 4 * width)
        self.fc2 = torch.nn.Linear(4 * width, width)
        self.gelu = torch.nn.GELU(approximate="tanh")

    def attention(self, z):
        q, k, v = self.qkv(z).view(len(z), tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width // heads) ** -0.5, dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(len(z), tokens, width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm(x) * (1 + scale1) + shift1)
        return x + gate2 * self.fc2(self.gelu(self.fc1(self.norm(x) * (1 + scale2) + shift2)))


class DiT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Linear(channels * patch * patch, width)
        self.position = torch.nn.Parameter(torch.randn(1, tokens, width), requires_grad=False)
        self.time = torch.nn.Sequential(torch.nn.Linear(256, width), torch.nn.SiLU(), torch.nn.Linear(width, width))
        self.classes = torch.nn.Embedding(classes + 1, width)
        self.blocks = torch.nn.ModuleList([Block() for _ in range(depth)])
        self.norm = torch.nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = torch.nn.Linear(width, 2 * width)
        self.final = torch.nn.Linear(width, patch * patch * 2 * channels)

    def forward(self, x, t, y):
        n = side // patch
        x = x.view(-1, channels, n, patch, n, patch).permute(0, 2, 4, 1, 3, 5).reshape(-1, tokens, channels * patch * patch)
        x = self.embed(x) + self.position
        angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(128) / 128)[None]
        c = torch.nn.functional.silu(self.time(torch.cat([angles.cos(), angles.sin()], -1)) + self.classes(y))
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.modulation(c).unsqueeze(1).chunk(2, dim=-1)
        x = self.final(self.norm(x) * (1 + scale) + shift).view(-1, n, n, patch, patch, 2 * channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(-1, 2 * channels, side, side)


betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
alphas = torch.cumprod(1 - betas, 0)
before = torch.cat([torch.ones(1, dtype=torch.float64), alphas[:-1]])
variance = betas * (1 - before) / (1 - alphas)
low, high = torch.log(torch.cat([variance[1:2], variance[1:]])).float(), torch.log(betas).float()
coef_start, coef_x = (betas * before.sqrt() / (1 - alphas)).float(), ((1 - before) * (1 - betas).sqrt() / (1 - alphas)).float()
root, rest = alphas.sqrt().float(), (1 - alphas).sqrt().float()


def pick(table, t):
    return table[t].view(-1, 1, 1, 1)


model = DiT()
trained = [p for p in model.parameters() if p.requires_grad]
average = [p.detach().clone() for p in trained]
optimiser = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0)
images = torch.rand(256, channels, side, side) * 2 - 1


def update():
    x0, y, t = images[torch.randint(256, (batch,))], torch.randint(classes, (batch,)), torch.randint(1000, (batch,))
    noise = torch.randn_like(x0)
    x = pick(root, t) * x0 + pick(rest, t) * noise
    eps, v = model(x, t, y).chunk(2, dim=1)
    start = (x - pick(rest, t) * eps.detach()) / pick(root, t)
    mean, true = pick(coef_start, t) * start + pick(coef_x, t) * x, pick(coef_start, t) * x0 + pick(coef_x, t) * x
    share = (v + 1) / 2
    log_variance = share * pick(high, t) + (1 - share) * pick(low, t)
    bound = 0.5 * (-1 + log_variance - pick(low, t) + torch.exp(pick(low, t) - log_variance) + (true - mean) ** 2 * torch.exp(-log_variance)) / math.log(2)
    loss = ((noise - eps) ** 2).mean() + bound.mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimiser.step()
    with torch.no_grad():
        for a, p in zip(average, trained):
            a.mul_(0.999).add_(p, alpha=0.001)


for line in sys.stdin:
    times = []
    update()
    begin = time.perf_counter()
    while len(times) < 2 or time.perf_counter() - begin < 3:
        start = time.perf_counter()
        update()
        times.append(time.perf_counter() - start)
    print(1e3 * statistics.median(times), flush=True)
