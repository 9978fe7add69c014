"""Prints the numbers of PyTorch that tests/schedule.rs and tests/gradients.rs compare with (torch 2.15)."""
import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import swa_utils
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, StepLR


def factors(scheduler, steps):
    """The learning rates of the first steps, for a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


print("cosine", factors(lambda o: CosineAnnealingLR(o, 5, 0.2), 6))
print("step", factors(lambda o: StepLR(o, 2, 0.5), 7))
print("linear", factors(lambda o: LinearLR(o, 1.0, 0.25, 4), 6))
print("warm-up", factors(lambda o: LinearLR(o, 0.25, 1.0, 3), 5))
print("one cycle", factors(lambda o: OneCycleLR(o, 1.0, total_steps=10, cycle_momentum=False), 10))

for dtype in (torch.float64, torch.float32):
    a = torch.nn.Parameter(torch.zeros(2, 2, dtype=dtype))
    b = torch.nn.Parameter(torch.zeros(3, dtype=dtype))
    a.grad = torch.tensor([[1.0, -2.0], [3.0, 0.5]], dtype=dtype)
    b.grad = torch.tensor([0.25, -4.0, 1.5], dtype=dtype)
    norm = clip_grad_norm_([a, b], 2.0).item()
    print("clip", dtype, norm, a.grad.flatten().tolist() + b.grad.tolist())

model = torch.nn.Linear(1, 1, bias=False).double()
average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
for weight in (2.0, 5.0, -1.0):
    with torch.no_grad():
        model.weight.fill_(weight)
    average.update_parameters(model)
    print("ema", weight, average.module.weight.item())
