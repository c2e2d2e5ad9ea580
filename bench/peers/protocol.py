"""What the programs of bench/peers have in common: they compute when told to."""
import statistics
import sys
import time


def serve(once):
    """Answers lines on standard input. "check PATH" writes the output of once(), an array, to a file
    of float32; "run" says the median milliseconds of 0.3 s of runs, or of one that takes longer."""
    for line in sys.stdin:
        word, _, path = line.strip().partition(" ")
        if word == "check":
            once().astype("<f4").tofile(path)
            print("ok", flush=True)
            continue
        times = []
        begin = time.perf_counter()
        while not times or time.perf_counter() - begin < 0.3:
            start = time.perf_counter()
            once()
            times.append(time.perf_counter() - start)
        print(1e3 * statistics.median(times), flush=True)
