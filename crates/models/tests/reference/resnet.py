"""Makes resnet.json: what torchvision's ResNets compute from weights and images given by a formula.

pip install torch torchvision numpy transformers; python resnet.py

All is computed in f64 from weights that are exact in f32; the differences of PyTorch's own f32 are printed, as a measure for
those of the tests. A narrow network is put together from torchvision's own blocks.

The gradient of max(0, x) jumps at 0, and that of a maximum where two values are the same: there the rounding of f32 decides
between two gradients. Of some batches the one is taken whose activations stay farthest from that. A wide network has too
many activations: its biases keep them positive, and what it shows is the arithmetic of large layers. Many of its gradients of
biases vanish, since the next normalization takes a shift away; so differences are told in units of the tensor's norm, or of a
thousandth of the largest gradient's norm where that is more.
"""

import json
import math
from pathlib import Path

import torch
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import ResNetConfig, ResNetForImageClassification

from formula import digest, scaled

DEPTHS = {
    "18": (BasicBlock, [2, 2, 2, 2]),
    "34": (BasicBlock, [3, 4, 6, 3]),
    "50": (Bottleneck, [3, 4, 6, 3]),
}
# name: depth, stem, width, channels, classes, batch, size of the images
CASES = {
    "resnet18-cifar-narrow": ("18", "cifar", 16, 1, 10, 3, 14),
    "resnet18-cifar": ("18", "cifar", 64, 3, 10, 3, 16),
    "resnet34-imagenet-narrow": ("34", "imagenet", 8, 3, 5, 3, 64),
    "resnet50-cifar-narrow": ("50", "cifar", 8, 3, 7, 4, 16),
    "resnet50-imagenet": ("50", "imagenet", 64, 3, 1000, 3, 64),
}
WIDE = 64
BATCHES = 40


def resnet(depth, stem, width, channels, classes):
    block, layers = DEPTHS[depth]
    model = ResNet(block, layers, num_classes=classes)
    if width != WIDE:
        model.inplanes = width
        model.bn1 = torch.nn.BatchNorm2d(width)
        for i, count in enumerate(layers):
            setattr(model, f"layer{i + 1}", model._make_layer(block, width << i, count, stride=1 if i == 0 else 2))
        model.fc = torch.nn.Linear((width << 3) * block.expansion, classes)
    if stem == "cifar":
        model.conv1 = torch.nn.Conv2d(channels, width, 3, padding=1, bias=False)
        model.maxpool = torch.nn.Identity()
    else:
        model.conv1 = torch.nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return model


def formula_weights(model, width):
    state = {}
    for name, value in model.state_dict().items():
        shape = tuple(value.shape)
        if name.endswith("num_batches_tracked"):
            continue
        if len(shape) == 4:
            state[name] = scaled(name, shape, 0.0, math.sqrt(6 / (shape[0] * shape[2] * shape[3])))
        elif len(shape) == 2:
            state[name] = scaled(name, shape, 0.0, math.sqrt(1 / shape[1]))
        elif width == WIDE and name.endswith("weight"):
            state[name] = scaled(name, shape, 0.15, 0.03125)
        elif width == WIDE and name.endswith("bias") and not name.startswith("fc"):
            state[name] = scaled(name, shape, 1.0, 0.25)
        elif name.endswith("running_var") or name.endswith("weight"):
            state[name] = scaled(name, shape, 1.0, 0.25)
        else:
            state[name] = scaled(name, shape, 0.0, 0.25)
    return state


def compute(model, images, labels):
    model.eval()
    with torch.no_grad():
        evaluated = model(images)
    model.train()
    logits = model(images)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    buffers = {name: value for name, value in model.named_buffers() if not name.endswith("num_batches_tracked")}
    tensors = {"logits, evaluated": evaluated, "logits, training": logits}
    tensors |= {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    tensors |= {f"updated {name}": value for name, value in buffers.items()}
    shapes = {name: list(value.shape) for name, value in model.state_dict().items() if value.dim() > 0}
    return loss.item(), {name: digest(name, value) for name, value in tensors.items()}, shapes


def distance_to_jumps(model, images):
    """The smallest absolute value that a max(0, x) meets in training, or difference of the largest two in a window if less."""
    distances = []

    def of_relu(_, inputs):
        distances.append(inputs[0].abs().min().item())

    def of_pool(_, inputs):
        padded = torch.nn.functional.pad(inputs[0], (1, 1, 1, 1), value=-math.inf)
        windows = padded.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4)
        largest = windows.topk(2, dim=4).values
        # The gradient of a window of zeros ends there.
        distances.append((largest[..., 0] - largest[..., 1])[largest[..., 0] > 0].min().item())

    hooks = []
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
            hooks.append(module.register_forward_pre_hook(of_relu))
        elif isinstance(module, torch.nn.MaxPool2d):
            hooks.append(module.register_forward_pre_hook(of_pool))
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    with torch.no_grad():
        model.train()(images)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    for hook in hooks:
        hook.remove()
    return min(distances)


def largest_difference(reference, other):
    floor = 1e-3 * max(values[0] for name, values in reference.items() if name.startswith("gradient"))
    differences = {
        name: max(abs(a - b) for a, b in zip(values, other[name]))
        / max(values[0], floor if name.startswith("gradient") else 0.0)
        for name, values in reference.items()
    }
    return max(differences.items(), key=lambda entry: entry[1])


def main():
    torch.set_num_threads(2)
    out = {}
    for case, (depth, stem, width, channels, classes, batch, size) in CASES.items():
        labels = torch.arange(batch) * 3 % classes
        double = resnet(depth, stem, width, channels, classes).double()
        weights = formula_weights(double, width)
        double.load_state_dict(weights, strict=False)
        batches = [
            scaled(f"images {i} of {case}", (batch, channels, size, size), 0.0, 1.0)
            for i in range(BATCHES)
        ]
        distances = [distance_to_jumps(double, images.double()) for images in batches]
        chosen = max(range(len(batches)), key=distances.__getitem__)
        images = batches[chosen]
        single = resnet(depth, stem, width, channels, classes)
        single.load_state_dict(weights, strict=False)
        single = compute(single, images, labels)
        loss, tensors, shapes = compute(double, images.double(), labels)
        name, difference = largest_difference(tensors, single[1])
        print(
            f"{case}: loss {loss:.6f}; f32 differs by {abs(single[0] - loss):.1e}, in `{name}` by {difference:.1e}; "
            f"nearest jump: {distances[chosen]:.1e}"
        )
        out[case] = {
            "depth": depth, "stem": stem, "width": width, "channels": channels, "classes": classes,
            "batch": batch, "size": size, "images": f"images {chosen} of {case}", "loss": loss, "single": difference, "tensors": tensors, "shapes": shapes,
        }  # fmt: skip
    # The names and shapes of the same network on the hub.
    hub = ResNetForImageClassification(ResNetConfig(depths=[3, 4, 6, 3], embedding_size=64, layer_type="bottleneck"))
    hub = {name: list(value.shape) for name, value in hub.state_dict().items() if value.dim() > 0}
    out["names of transformers, resnet50"] = hub
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in out.items())
    Path(__file__).with_name("resnet.json").write_text(f"{{\n{lines}\n}}\n")


main()
