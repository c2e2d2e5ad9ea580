"""Training in this program and in PyTorch, alternating. Called by the script run:

peers_train.py WORKDIR HERE [--json] [--rounds N]."""
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
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()

# Side, channels, patch, width, depth, heads, classes, batch.
MODELS = {"fashion": (28, 1, 2, 128, 10, 4, 10, 16), "DiT-S/2": (32, 4, 2, 384, 12, 6, 1000, 8)}

results = {}
for name, size in MODELS.items():
    batch = size[-1]
    torch = subprocess.Popen(
        [sys.executable, os.path.join(args.here, "torch_train.py"), *map(str, size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ours, theirs, peak = [], [], []
    for _ in range(args.rounds):
        torch.stdin.write("run\n")
        torch.stdin.flush()
        theirs.append(1e3 * batch / float(torch.stdout.readline()))
        out = subprocess.run(
            ["./tokencache", "bench", "train", "--arch", name, "--batch", str(batch), "--micro-batch", str(batch), "--time", "3s", "--json"],
            cwd=args.work, check=True, stdout=subprocess.PIPE, text=True).stdout
        report = json.loads(out)
        ours.append(report["images_per_second"])
        peak.append(report["percent_of_peak"])
    torch.stdin.close()
    torch.wait()
    a, b = statistics.median(ours), statistics.median(theirs)
    results[name] = {"batch": batch, "images_per_second": a, "pytorch_images_per_second": b, "ratio": a / b, "percent_of_peak": statistics.median(peak)}

if args.json:
    print(json.dumps(results, indent=2))
else:
    for name, r in results.items():
        print(f"{name:8} batch {r['batch']}: {r['images_per_second']:.1f} images/s ({r['percent_of_peak']:.0f}% of peak), PyTorch {r['pytorch_images_per_second']:.1f}: {r['ratio']:.2f}x")
