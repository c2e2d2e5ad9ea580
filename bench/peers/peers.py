"""Runs the programs of bench/peers, alternating. Called by the script run:

peers.py WORKDIR HERE [--json] [--rounds N] [--only SUBJECT,...]."""
import argparse
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys

import numpy

SUBJECTS = ["block-s", "block-xl", "dit-s-2", "dit-xl-2", "minit2i-b16"]
OURS = "tokencache"
# By number format: the programs, each with its script and variant.
PROGRAMS = {
    "f32": {
        OURS: None,
        "PyTorch": ("torch_peer.py", "f32"),
        "PyTorch compiled": ("torch_peer.py", "f32-compile"),
        "ONNX Runtime": ("onnx_peer.py", "f32"),
        "OpenVINO": ("openvino_peer.py", "f32"),
    },
    "bf16": {
        OURS: None,
        "PyTorch": ("torch_peer.py", "bf16"),
        "PyTorch compiled": ("torch_peer.py", "bf16-compile"),
        "OpenVINO": ("openvino_peer.py", "bf16"),
    },
    "int8": {
        OURS: None,
        "ONNX Runtime": ("onnx_peer.py", "int8"),
        "OpenVINO": ("openvino_peer.py", "int8"),
    },
}
# Larger errors than these, relative to the root mean square of PyTorch's float32 output, mean that
# a program computes something else.
LIMITS = {"f32": 1e-4, "bf16": 0.2, "int8": 0.5}


def fail(what, folder):
    """Ends the run with what a program wrote."""
    with open(os.path.join(folder, "log")) as f:
        sys.exit(f"{''.join(f.readlines()[-30:])}{what}")


class Program:
    """A process that computes a subject when told to."""

    def __init__(self, name, command, folder):
        self.name, self.folder, self.times = name, folder, []
        with open(os.path.join(folder, "log"), "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder)
        self.answer("check got.f32")
        want = numpy.fromfile(os.path.join(folder, "out.f32"), "<f4")
        got = numpy.fromfile(os.path.join(folder, "got.f32"), "<f4")
        self.error = float(numpy.sqrt(numpy.mean((got - want) ** 2) / numpy.mean(want**2)))

    def answer(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            fail(f"{self.name} ended", self.folder)
        return line

    def resident(self):
        """The resident memory in MB."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def prepare(subject, folder):
    """Writes what the programs need. PyTorch comes first, as the others need its ONNX graph."""
    for script in ("torch_peer.py", "onnx_peer.py", "openvino_peer.py"):
        command = [sys.executable, os.path.join(args.here, script), subject, "prepare"]
        with open(os.path.join(folder, "log"), "w") as log:
            done = subprocess.run(command, cwd=folder, stdout=log, stderr=log)
        if done.returncode != 0:
            fail(f"{script} failed to prepare {subject}", folder)


def measure(subject, dtype, folder):
    """Measures the programs of a number format and returns a row for each."""
    programs = []
    for name, peer in PROGRAMS[dtype].items():
        if peer is None:
            command = [os.path.join(args.work, "pass"), "-subject", subject, "-dtype", dtype]
        else:
            command = [sys.executable, os.path.join(args.here, peer[0]), subject, peer[1]]
        note(f"{subject} {dtype}: {name}")
        programs.append(Program(name, command, folder))
        if not programs[-1].error < LIMITS[dtype]:
            sys.exit(f"{subject} {dtype}: {name} has an error of {programs[-1].error:.3g}, want less than {LIMITS[dtype]}")
    ours, peaks = programs[0], []
    flops = int(ours.answer("flops"))
    note(f"{subject} {dtype}: measuring")
    for i in range(args.rounds + 1):
        peak = float(ours.answer("peak"))
        times = [float(p.answer("run")) for p in programs]
        if i > 0:  # the first warms up
            peaks.append(peak)
            for p, ms in zip(programs, times):
                p.times.append(ms)
    rows, peak = [], statistics.median(peaks)
    for p in programs:
        ms = statistics.median(p.times)
        rows.append({
            "subject": subject,
            "dtype": dtype,
            "program": p.name,
            "ms": ms,
            "times_ours": ms / statistics.median(ours.times),
            "error": p.error,
            "gflops": flops / ms / 1e6,
            "percent_of_peak": 100 * flops / ms * 1e3 / peak,
            "rss_mb": p.resident(),
        })
        p.close()
    return rows


def note(what):
    print(what, file=sys.stderr, flush=True)


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")


def subjects(text):
    names = text.split(",")
    for name in names:
        if name not in SUBJECTS:
            raise argparse.ArgumentTypeError(f"{name!r}: want some of {','.join(SUBJECTS)}")
    return names


def rounds(text):
    n = int(text)
    if n < 1:
        raise ValueError
    return n


parser = argparse.ArgumentParser(prog="bench/peers/run")
parser.add_argument("work")
parser.add_argument("here")
parser.add_argument("--json", action="store_true", help="print one JSON object")
parser.add_argument("--rounds", type=rounds, default=8, help="rounds of which the medians count")
parser.add_argument("--only", type=subjects, default=SUBJECTS, metavar="SUBJECT,...", help="some of " + ", ".join(SUBJECTS))
args = parser.parse_args()

rows = []
for subject in args.only:
    note(f"{subject}: making weights, graphs and quantized models")
    folder = os.path.join(args.work, subject)
    os.mkdir(folder)
    prepare(subject, folder)
    for dtype in PROGRAMS:
        rows += measure(subject, dtype, folder)
    shutil.rmtree(folder)  # several GB

versions = {name: importlib.metadata.version(name) for name in ("torch", "onnxruntime", "openvino", "nncf")}
if args.json:
    print(json.dumps({"threads": 2, "processor": processor(), "versions": versions, "rows": rows}, indent=2))
else:
    print(f"{'subject':12} {'dtype':5} {'program':16} {'ms':>9} {'of ours':>8} {'error':>8} {'GFLOP/s':>8} {'of peak':>8} {'memory':>9}")
    for r in rows:
        print(f"{r['subject']:12} {r['dtype']:5} {r['program']:16} {r['ms']:9.2f} {r['times_ours']:7.2f}x {r['error']:8.1e} "
              f"{r['gflops']:8.1f} {r['percent_of_peak']:7.1f}% {r['rss_mb']:6.0f} MB")
    print(f"2 threads, {processor()}; {', '.join(f'{name} {version}' for name, version in versions.items())}")
