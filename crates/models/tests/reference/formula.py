"""Values that this script and the tests compute alike, bit for bit, so that no weights need to be stored."""

import numpy as np
import torch

MASK = (1 << 64) - 1


def uniform(name: str, shape) -> np.ndarray:
    """Multiples of 2^-23 in [-1, 1): splitmix64 over the place, from the FNV-1a hash of the name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    count = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    values = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1.0)
    return values.reshape(shape)


def scaled(name: str, shape, center: float, scale: float) -> torch.Tensor:
    """center + scale · uniform, rounded to f32 after each operation."""
    return torch.from_numpy(np.float32(center) + np.float32(scale) * uniform(name, shape))


def digest(name: str, values: torch.Tensor) -> list[float]:
    """The norm of a tensor and its inner product with the formula's values: a difference anywhere shows in the second."""
    values = values.detach().double().numpy()
    return [float(np.linalg.norm(values)), float((values * uniform(name, values.shape).astype(np.float64)).sum())]
