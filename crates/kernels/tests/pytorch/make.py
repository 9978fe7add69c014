"""Results and gradients of PyTorch for the operations around convolutions: `python make.py` (torch, safetensors, numpy).

Each case is a group of tensors `case/name`: inputs, `g` (the gradient of the result), the result `y`, and `d…` for the
gradients of inputs. Numbers that the operation takes stand in the name of the case."""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(1)
out = {}


def case(name, inputs, op, variables=None):
    """The result of `op` for the inputs, and the gradients of the variables (all inputs unless told)."""
    variables = variables if variables is not None else list(inputs)
    inputs = {key: value.requires_grad_(key in variables) for key, value in inputs.items()}
    y = op(**inputs)
    g = torch.randn_like(y)
    y.backward(g)
    found = {**inputs, "g": g, "y": y, **{f"d{key}": inputs[key].grad for key in variables}}
    out.update({f"{name}/{key}": value.detach().clone().contiguous() for key, value in found.items()})


# Small integers, so that windows have several largest pixels; and windows without any number, and with NaN.
ties = torch.randint(-2, 3, (2, 3, 7, 9)).float()
special = ties.clone()
special[0, 0, :4, :5] = -torch.inf
special[1, 1, 3, 4] = special[1, 1, 4, 4] = torch.nan
special[1, 2, 0, 0] = torch.inf
for kernel, stride, padding in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 0), (5, 3, 2), (2, 1, 1), (7, 1, 0)]:
    for which, x in [("ties", ties), ("special", special)]:
        case(f"max_pool {kernel} {stride} {padding} {which}", {"x": x.clone()}, lambda x: F.max_pool2d(x, kernel, stride, padding))
for kernel, stride in [(2, 2), (3, 2), (3, 1), (2, 3)]:
    case(f"avg_pool {kernel} {stride}", {"x": torch.randn(2, 3, 7, 9)}, lambda x: F.avg_pool2d(x, kernel, stride))
case("global_avg_pool", {"x": torch.randn(2, 3, 7, 9)}, lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1))

for relu in [0, 1]:
    channels = {"gamma": torch.randn(3), "beta": torch.randn(3)}
    after = F.relu if relu else lambda y: y
    x = torch.randn(4, 3, 5, 6) * 2 + 10
    mean, variance = torch.zeros(3), torch.zeros(3)
    case(f"batch_norm {relu}", {"x": x, **channels}, lambda x, gamma, beta: after(F.batch_norm(x, None, None, gamma, beta, True)))
    out[f"batch_norm {relu}/mean"] = x.detach().mean((0, 2, 3))
    out[f"batch_norm {relu}/variance"] = x.detach().var((0, 2, 3), unbiased=False)
    channels = {"gamma": torch.randn(3), "beta": torch.randn(3), "mean": torch.randn(3), "variance": torch.rand(3) + 0.1}
    case(
        f"batch_norm_with {relu}",
        {"x": torch.randn(4, 3, 5, 6), **channels},
        lambda x, gamma, beta, mean, variance: after(F.batch_norm(x, mean, variance, gamma, beta, False)),
        ["x", "gamma", "beta"],
    )
case("add_relu", {"a": ties.clone(), "b": ties.flip(0).clone()}, lambda a, b: F.relu(a + b))
labels = torch.tensor([0, 36, 5, 17, 2])
case("cross_entropy", {"z": torch.randn(5, 37) * 5}, lambda z: F.cross_entropy(z, labels))
out["cross_entropy/labels"] = labels.to(torch.uint32)

save_file(out, pathlib.Path(__file__).with_name("around_convolutions.safetensors"))
