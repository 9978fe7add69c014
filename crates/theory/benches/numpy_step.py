"""One SpecGD step at k = 20, d = 200: this project against NumPy, in turn, as a ratio of medians.

Usage: python3 crates/theory/benches/numpy_step.py [ROUNDS]   (from the root; needs numpy, and the benchmark built)

NumPy takes the step in two ways: with the dense second moment, and with the moment as the mixture has it,
diag(p) in the span of the means plus the identity, which is what this project does. Both use numpy.linalg.svd.
"""

import re
import statistics
import subprocess
import sys
import time

import numpy as np

K, D, STEPS, ETA = 20, 200, 1000, 1e-6
UNITS = {"ns": 1e-3, "µs": 1.0, "ms": 1e3, "s": 1e6}


def problem():
    priors = 1 / np.arange(1, K + 1)
    priors /= priors.sum()
    means = np.linalg.qr(np.random.default_rng(0).standard_normal((D, K)))[0].T.copy()
    return priors, means


def numpy_step(gradient):
    """Microseconds of one step."""
    weights = np.zeros((K, D))
    start = time.perf_counter()
    for _ in range(STEPS):
        u, _, vt = np.linalg.svd(gradient(weights), full_matrices=False)
        weights -= ETA * (u @ vt)
    return (time.perf_counter() - start) / STEPS * 1e6


def our_step():
    """Microseconds of one step: the median of the benchmark."""
    command = ["cargo", "bench", "--quiet", "--workspace", "--bench", "step", "--", "specgd_1000_steps"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row = next(line for line in out.splitlines() if "specgd_1000_steps" in line)
    # fastest │ slowest │ median │ mean
    value, unit = re.findall(r"([\d.]+) (ns|µs|ms|s)\b", row)[2]
    return float(value) * UNITS[unit] / STEPS


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    priors, means = problem()
    cross = priors[:, None] * means
    second = means.T @ np.diag(priors) @ means + np.eye(D)
    ways = {
        "NumPy, dense moment": lambda: numpy_step(lambda w: w @ second - cross),
        "NumPy, moment of the mixture": lambda: numpy_step(lambda w: w + ((w @ means.T) * priors) @ means - cross),
        "isorate": our_step,
    }
    times = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            times[name].append(measure())
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"one SpecGD step, k = {K}, d = {D}: median of {rounds} alternating rounds of {STEPS} steps")
    for name, median in medians.items():
        print(f"{name:30} {median:8.1f} µs   {median / medians['isorate']:5.2f} times isorate's")


if __name__ == "__main__":
    main()
