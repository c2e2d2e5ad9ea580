"""Runs the programs of bench/peers, alternating. Called by the script run:

peers.py WORKDIR HERE [--json] [--rounds N]."""
import argparse
import json
import os
import statistics
import subprocess
import sys

parser = argparse.ArgumentParser()
parser.add_argument("work")
parser.add_argument("here")
parser.add_argument("--json", action="store_true")
parser.add_argument("--rounds", type=int, default=8)
args = parser.parse_args()

SIZES = {"DiT-S": (384, 6), "DiT-XL": (1152, 16)}
BATCH, TOKENS = 2, 256


class Program:
    """A process that answers a line on its input with the median milliseconds of a block."""

    def __init__(self, name, command):
        self.name, self.times = name, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=args.work)
        self.error = float(self.answer("check"))  # largest difference from PyTorch's output, relative to its root mean square

    def answer(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended")
        return line

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def flops(width):
    """Multiplications and additions of the block's products, each counted by itself."""
    rows = BATCH * TOKENS
    return 2 * rows * width * 12 * width + 4 * rows * TOKENS * width + 2 * BATCH * width * 6 * width


results = {}
for size, (width, heads) in SIZES.items():
    # PyTorch comes first, as it writes the weights, the input, its output and the ONNX graph for the others.
    programs = [Program("PyTorch", ["/usr/bin/python3", os.path.join(args.here, "torch_block.py"), str(width), str(heads), str(BATCH), str(TOKENS)])]
    programs.append(Program("ONNX Runtime", ["node", "ort_block.js", str(width), str(BATCH), str(TOKENS)]))
    programs.append(Program("tokencache", ["./block", "--heads", str(heads)]))
    for round in range(args.rounds + 1):
        for c in programs:
            ms = float(c.answer("run"))
            if round > 0:  # the first warms up
                c.times.append(ms)
    for c in programs:
        c.close()
    ours = statistics.median(programs[-1].times)
    results[size] = [
        {
            "program": c.name,
            "ms": round_to,
            "gflops": flops(width) / round_to / 1e6,
            "times_ours": round_to / ours,
            "error": c.error,
        }
        for c in programs
        for round_to in [statistics.median(c.times)]
    ]

if args.json:
    print(json.dumps({"batch": BATCH, "tokens": TOKENS, "threads": 2, "blocks": results}, indent=2))
else:
    print(f"{'block':8} {'program':14} {'ms':>8} {'GFLOP/s':>8} {'of ours':>8} {'error':>9}")
    for size, rows in results.items():
        for r in rows:
            print(f"{size:8} {r['program']:14} {r['ms']:8.2f} {r['gflops']:8.1f} {r['times_ours']:7.2f}x {r['error']:9.1e}")
