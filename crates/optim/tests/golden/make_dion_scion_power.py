#!/usr/bin/env python3
"""Writes the reference trajectories of Dion, Scion and the spectral-power rule beside this file.

The updates are written from their definitions in NumPy, float64, with its own QR and singular value decompositions:

- Dion: K. Ahn et al., "Dion: Distributed Orthonormalized Updates", arXiv 2504.05295; a wide matrix is
  transposed, as in the authors' implementation. Only the start of the basis (`start`) is this project's choice.
- Scion: T. Pethick et al., "Training Deep Learning Models with Norm-Constrained LMOs", arXiv 2502.07529,
  with the norms of the authors' implementation, without the 1e-8 that it adds to lengths.
- The spectral-power rule: U diag(sigma^p) V^T.

Run: python make_dion_scion_power.py (needs NumPy alone; the files come out the same each time up to the last digits).
"""

import json
import math
import struct
from pathlib import Path

import numpy as np

STEPS = 12
MATRICES = [(4, 6), (6, 4), (5, 5)]
FOLDER = Path(__file__).parent
MASK = (1 << 64) - 1


def start(seed, name, shape):
    """Numbers uniform in [-1, 1): SplitMix64 from the FNV-1a hash of the seed (8 bytes, little endian) and the name."""
    state = 0xCBF29CE484222325
    for byte in struct.pack("<Q", seed) + name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    values = []
    for _ in range(math.prod(shape)):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        values.append((z >> 11) / 2**52 - 1.0)
    return np.array(values).reshape(shape)


class Dion:
    def __init__(self, shape, lr, momentum, weight_decay, seed, rank=None, rank_fraction=None):
        self.lr, self.mu, self.decay = lr, momentum, weight_decay
        k = rank if rank is not None else math.ceil(rank_fraction * min(shape))
        self.buffer = np.zeros(shape)
        self.basis = start(seed, "w", (k, min(shape))).T

    def step(self, w, g):
        r, c = w.shape
        self.buffer = self.buffer + g
        m = self.buffer.T if r < c else self.buffer
        p, _ = np.linalg.qr(m @ self.basis)
        right = m.T @ p
        m = m - (1 - self.mu) * p @ right.T
        self.basis = right / np.linalg.norm(right, axis=0)
        update = p @ self.basis.T
        self.buffer = m.T if r < c else m
        update = update.T if r < c else update
        return w * (1 - self.lr * self.decay) - self.lr * math.sqrt(r / c) * update


def polar(x):
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    return u @ vt


def newton_schulz(x):
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / np.linalg.norm(wide)
    for _ in range(5):
        gram = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * gram + 2.0315 * gram @ gram) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


class Scion:
    def __init__(self, shape, lr, momentum, radius, constrained, norm, orthogonalizer=None):
        self.lr, self.beta, self.radius, self.constrained, self.norm = lr, momentum, radius, constrained, norm
        self.orthogonalize = {"exact": polar, "newton-schulz": newton_schulz, None: None}[orthogonalizer]
        self.average = np.zeros(shape)

    def direction(self, m):
        rows = m.shape[0]
        flat = m.reshape(rows, -1)
        columns = flat.shape[1]
        if self.norm == "spectral":
            return math.sqrt(rows / columns) * self.orthogonalize(flat)
        if self.norm == "spectral-conv":
            k = m.shape[2]
            return math.sqrt(rows / m.shape[1]) / k**2 * self.orthogonalize(flat)
        if self.norm == "sign":
            return np.sign(flat) / columns
        if self.norm == "col-norm":
            return math.sqrt(rows) * flat / np.linalg.norm(flat, axis=0, keepdims=True)
        if self.norm == "row-norm":
            return flat / np.linalg.norm(flat, axis=1, keepdims=True) / math.sqrt(columns)
        if self.norm == "bias-rms":
            return flat / math.sqrt(np.mean(flat**2))
        raise ValueError(self.norm)

    def step(self, w, g):
        self.average = self.beta * self.average + (1 - self.beta) * g
        kept = (1 - self.lr) * w if self.constrained else w
        return kept - self.lr * self.radius * self.direction(self.average).reshape(w.shape)


class Power:
    def __init__(self, shape, lr, exponent, momentum, weight_decay=0.0):
        self.lr, self.p, self.beta, self.decay = lr, exponent, momentum, weight_decay
        self.average = np.zeros(shape)

    def step(self, w, g):
        self.average = self.beta * self.average + (1 - self.beta) * g
        u, sigma, vt = np.linalg.svd(self.average, full_matrices=False)
        return w * (1 - self.lr * self.decay) - self.lr * (u * sigma**self.p) @ vt


RULES = {"dion": Dion, "scion": Scion, "power": Power}


def write(name, shape, optimizer, hyper, source, seed):
    rng = np.random.default_rng(seed)
    rule = RULES[optimizer](shape, **hyper)
    w = rng.standard_normal(shape)
    tensors = {"w.0": w}
    for k in range(1, STEPS + 1):
        g = rng.standard_normal(shape)
        w = rule.step(w, g)
        tensors[f"grad.{k}"] = g
        tensors[f"w.{k}"] = w
    case = {"optimizer": optimizer, "hyper": hyper, "shape": list(shape), "steps": STEPS, "source": source}
    header, offset = {"__metadata__": {"case": json.dumps(case)}}, 0
    for key, value in tensors.items():
        header[key] = {"dtype": "F64", "shape": list(shape), "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(value).tobytes() for value in tensors.values())
    path = FOLDER / f"{name}-{'x'.join(map(str, shape))}.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    numpy = f"NumPy {np.__version__}, float64"
    dion = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02, "seed": 3}
    constrained = {"lr": 0.1, "momentum": 0.9, "radius": 5.0, "constrained": True}
    free = {"lr": 0.02, "momentum": 0.8, "radius": 3.0, "constrained": False}
    cases = [
        ("dion-rank2", "dion", {**dion, "rank": 2}),
        ("dion-full", "dion", {**dion, "rank_fraction": 1.0}),
        ("scion-spectral", "scion", {**constrained, "norm": "spectral", "orthogonalizer": "exact"}),
        ("scion-ns", "scion", {**free, "norm": "spectral", "orthogonalizer": "newton-schulz"}),
        ("scion-sign", "scion", {**constrained, "norm": "sign"}),
        ("scion-colnorm", "scion", {**constrained, "norm": "col-norm"}),
        ("scion-rownorm", "scion", {**free, "norm": "row-norm"}),
        ("scion-biasrms", "scion", {**free, "norm": "bias-rms"}),
        ("power-0.5", "power", {"lr": 0.1, "exponent": 0.5, "momentum": 0.0}),
        ("power-0.25", "power", {"lr": 0.1, "exponent": 0.25, "momentum": 0.9, "weight_decay": 0.1}),
    ]
    source = {
        "dion": f"definition of arXiv 2504.05295, {numpy}",
        "scion": f"definition of arXiv 2502.07529, {numpy}",
        "power": f"definition, {numpy}",
    }
    seed = 1000
    for name, optimizer, hyper in cases:
        for shape in MATRICES:
            write(name, shape, optimizer, hyper, source[optimizer], seed)
            seed += 1
    conv = {**constrained, "norm": "spectral-conv", "orthogonalizer": "exact"}
    write("scion-conv", (4, 3, 2, 2), "scion", conv, source["scion"], seed)


if __name__ == "__main__":
    main()
