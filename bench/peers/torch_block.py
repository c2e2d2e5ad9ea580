"""A DiT block in PyTorch, from the paper's section 3.2 (adaLN-Zero): torch_block.py WIDTH HEADS BATCH TOKENS, in a working folder.

It writes block.safetensors (weights, x, c, out), block.onnx and raw inputs, then answers lines on standard input with the median milliseconds of 0.3 s of runs."""
import json
import statistics
import struct
import sys
import time

import numpy
import torch

width, heads, batch, tokens = map(int, sys.argv[1:])
torch.set_num_threads(2)
torch.manual_seed(0)


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
        q, k, v = self.qkv(z).view(batch, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * (width // heads) ** -0.5, dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))

    def forward(self, x, c):  # c has passed SiLU
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm(x) * (1 + scale1) + shift1)
        return x + gate2 * self.fc2(self.gelu(self.fc1(self.norm(x) * (1 + scale2) + shift2)))


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, t in tensors.items():
        raw = t.detach().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


block = Block().eval()
x, c = torch.randn(batch, tokens, width), torch.nn.functional.silu(torch.randn(batch, width))
with torch.inference_mode():
    out = block(x, c)
names = {"modulation": "adaLN_modulation.1", "qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
tensors = {"x": x, "c": c, "out": out}
for name, p in block.named_parameters():
    layer, kind = name.split(".")
    tensors[f"{names[layer]}.{kind}"] = p
write_safetensors("block.safetensors", tensors)
for name, t in {"x": x, "c": c, "out": out}.items():
    t.numpy().astype("<f4").tofile(name + ".raw")
torch.onnx.export(block, (x, c), "block.onnx", input_names=["x", "c"], output_names=["out"], opset_version=16)

for line in sys.stdin:
    if line.strip() == "check":
        print(0.0, flush=True)
        continue
    times = []
    with torch.inference_mode():
        begin = time.perf_counter()
        while time.perf_counter() - begin < 0.3:
            start = time.perf_counter()
            block(x, c)
            times.append(time.perf_counter() - start)
    print(1e3 * statistics.median(times), flush=True)
