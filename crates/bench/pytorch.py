"""The works of `isorate bench` that PyTorch can do as well, measured in both programs in turn, and their ratios.

PyTorch is no dependency of the project. In a scratch environment outside of the repository:

    python3 -m venv SCRATCH && SCRATCH/bin/pip install torch numpy
    just bench-pytorch SCRATCH/bin/python

Each round runs the one program and then the other, each with the same number of threads; times are medians over the rounds
of medians within a run. A ratio below 1 means that isorate takes less time. Both programs time a 1024x1024x1024 product in
float32 beside every work, so that the rates that the two reach can be told apart from what the machine does otherwise.

The peak memory of a whole training step is the largest resident memory (VmHWM) of a process that does three such steps and
nothing else, in either program. Python with torch and one of its optimizers had 680 MiB before the first step here.

torch.optim.Muon iterates in bfloat16 (the weights stay float32): works with -bf16 in their names do so in both programs, the
others iterate in float32 in both. All matrices of the network are under the rule, biases under AdamW beside Muon.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

WIDTHS, BATCH, LR = (784, 512, 512, 10), 128, 1e-6
WARM_UP, FEWEST, MOST, SECONDS = 3, 5, 31, 1.2


def torch_works(torch):
    """(work, variant) -> a function that makes what is timed."""
    from torch.optim import _muon

    in_bfloat16 = _muon._zeropower_via_newtonschulz

    def in_float32(gradient, coefficients, steps, eps):
        """The iteration of torch.optim.Muon, operation for operation, without the conversion to bfloat16."""
        a, b, c = coefficients
        x = gradient.T if gradient.size(0) > gradient.size(1) else gradient
        x = x / x.norm().clamp(min=eps)
        for _ in range(steps):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
        return x.T if gradient.size(0) > gradient.size(1) else x

    def product():
        a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
        return lambda: a @ b

    def newton_schulz(iteration, shape):
        def make():
            x = torch.randn(shape)
            return lambda: iteration(x, (3.4445, -4.7750, 2.0315), 5, 1e-7)

        return make

    def exact():
        x = torch.randn(512, 512)

        def call():
            u, _, vt = torch.linalg.svd(x, full_matrices=False)
            return u @ vt

        return call

    def muon(params, iteration):
        # torch.optim.Muon takes matrices only: filters are views [out, in*height*width] in the memory of the parameters.
        matrices = [torch.nn.Parameter(param.detach().flatten(1)) for param in params]
        optimizer = torch.optim.Muon(matrices, lr=LR, weight_decay=0.0)

        def step():
            _muon._zeropower_via_newtonschulz = iteration
            for matrix, param in zip(matrices, params):
                matrix.grad = param.grad.flatten(1)
            optimizer.step()

        return step

    def batch(iteration):
        def make():
            params = [torch.nn.Parameter(torch.randn(128, 128)) for _ in range(16)]
            for param in params:
                param.grad = torch.randn(128, 128)
            return muon(params, iteration)

        return make

    class Training:
        def __init__(self, network):
            self.net, self.inputs, self.targets = network()

        def loss(self):
            logits = self.net(self.inputs)
            return torch.nn.functional.cross_entropy(logits.flatten(0, -2), self.targets.flatten())

        def gradients(self):
            self.net.zero_grad()
            self.loss().backward()

    def rules(params):
        matrices = [param for param in params if param.ndim >= 2]
        vectors = [param for param in params if param.ndim < 2]

        def with_muon(iteration):
            step, rest = muon(matrices, iteration), torch.optim.AdamW(vectors, lr=LR)
            return lambda: (step(), rest.step())

        return {
            ("sgd", "float32"): lambda: torch.optim.SGD(params, lr=LR).step,
            ("adam", "float32"): lambda: torch.optim.Adam(params, lr=LR).step,
            ("adamw", "float32"): lambda: torch.optim.AdamW(params, lr=LR).step,
            ("muon", "float32"): lambda: with_muon(in_float32),
            ("muon", "bfloat16"): lambda: with_muon(in_bfloat16),
        }

    def optimizer(key):
        def make():
            training = Training(networks["mlp"])
            training.gradients()
            return rules(list(training.net.parameters()))[key]()

        return make

    def whole_step(network, key):
        def make():
            training = Training(network)
            step = rules(list(training.net.parameters()))[key]()

            def call():
                training.gradients()
                step()

            return call

        return make

    def gradients(network, with_backward):
        def make():
            training = Training(network)
            return training.gradients if with_backward else training.loss

        return make

    networks = torch_networks(torch)
    works = {("matmul/1024x1024", "float32"): product}
    iterations = {"float32": in_float32, "bfloat16": in_bfloat16}
    suffix = {"float32": "", "bfloat16": "-bf16"}
    for shape in [(1024, 1024), (512, 512), (512, 784), (128, 784)]:
        for dtype, iteration in iterations.items():
            works[f"orthogonalize/newton-schulz{suffix[dtype]}/{shape[0]}x{shape[1]}", dtype] = newton_schulz(iteration, shape)
    works["orthogonalize/exact/512x512", "float32"] = exact
    for dtype, iteration in iterations.items():
        # torch.optim.Muon takes its matrices one by one.
        works[f"batch/together{suffix[dtype]}/16x128x128", dtype] = batch(iteration)
    keys = [("sgd", "float32"), ("adam", "float32"), ("adamw", "float32"), ("muon", "float32"), ("muon", "bfloat16")]
    for rule, dtype in keys:
        works[f"optimizer/{rule}{suffix[dtype]}", dtype] = optimizer((rule, dtype))
    for name, call in torch_operations(torch).items():
        works[f"operation/{name}", "float32"] = call
    works["train/mlp/forward", "float32"] = gradients(networks["mlp"], False)
    works["train/mlp/forward-backward", "float32"] = gradients(networks["mlp"], True)
    for rule, dtype in keys:
        if rule != "adam":
            works[f"train/mlp/{rule}{suffix[dtype]}", dtype] = whole_step(networks["mlp"], (rule, dtype))
    steps = [("resnet18", "sgd"), ("resnet18-narrow", "muon"), ("resnet50", "sgd"), ("gpt", "adamw"), ("bert", "adamw")]
    for name, rule in steps:
        works[f"train/{name}/forward-backward", "float32"] = gradients(networks[name], True)
        works[f"train/{name}/{rule}", "float32"] = whole_step(networks[name], (rule, "float32"))
    return works


def torch_networks(torch):
    """name -> a function that makes the network, a batch and its targets."""
    nn, functional = torch.nn, torch.nn.functional

    def mlp():
        layers = []
        for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers[:-1]), torch.randn(BATCH, WIDTHS[0]), torch.randint(0, WIDTHS[-1], (BATCH,))

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
            y = self.bn2(self.conv2(y))
            y += x if self.shortcut is None else self.shortcut(x)
            return functional.relu(y, inplace=True)

    class Bottleneck(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
            self.shortcut = None
            if stride != 1 or inputs != 4 * width:
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

        def forward(self, x):
            y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
            y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
            y = self.bn3(self.conv3(y))
            y += x if self.shortcut is None else self.shortcut(x)
            return functional.relu(y, inplace=True)

    def resnet(width, channels, block, blocks, expansion):
        """As torchvision has it, with a 3x3 stem without pooling."""
        layers = [nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        inputs = width
        for stage in range(4):
            for i in range(blocks[stage]):
                layers.append(block(inputs, width << stage, 2 if stage > 0 and i == 0 else 1))
                inputs = expansion * width << stage
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))

    def wide():
        return resnet(64, 3, Block, [2] * 4, 1), torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))

    def narrow():
        return resnet(16, 1, Block, [2] * 4, 1), torch.randn(128, 1, 28, 28), torch.randint(0, 10, (128,))

    def resnet50():
        return resnet(64, 3, Bottleneck, [3, 4, 6, 3], 4), torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))

    class Attention(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            return self.out(attention(torch, self.qkv(x), self.heads))

    class Transformer(nn.Module):
        def __init__(self, vocabulary=4096, context=64, width=128, layers=2, heads=4):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)

            def mlp():
                return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

            parts = [nn.ModuleList([nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width), mlp()]) for _ in range(layers)]
            self.blocks, self.norm = nn.ModuleList(parts), nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, ids):
            x = self.tokens(ids) + self.positions.weight[: ids.size(1)]
            for norm1, attend, norm2, mlp in self.blocks:
                x = x + attend(norm1(x))
                x = x + mlp(norm2(x))
            return self.head(self.norm(x))

    def gpt():
        return Transformer(), torch.randint(0, 4096, (32, 64)), torch.randint(0, 4096, (32, 64))

    class Encoder(nn.Module):
        """BERT of the size of MiniLM, for 3 classes."""

        def __init__(self, width=384, layers=6, heads=12):
            super().__init__()
            tables = [nn.Embedding(count, width) for count in (30522, 512, 2)]
            self.tables, self.norm = nn.ModuleList(tables), nn.LayerNorm(width)
            layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True)
            self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
            self.pooler, self.head = nn.Linear(width, width), nn.Linear(width, 3)

        def forward(self, ids):
            words, positions, types = self.tables
            x = words(ids) + positions.weight[: ids.size(1)] + types(torch.zeros_like(ids))
            # The mask hides nothing, as no input is padded; a classifier has it all the same.
            hidden = torch.zeros(ids.shape, dtype=torch.bool)
            x = self.layers(self.norm(x), src_key_padding_mask=hidden)
            return self.head(torch.tanh(self.pooler(x[:, 0])))

    def bert():
        return Encoder(), torch.randint(0, 30522, (8, 128)), torch.randint(0, 3, (8,))

    return {"mlp": mlp, "resnet18": wide, "resnet18-narrow": narrow, "resnet50": resnet50, "gpt": gpt, "bert": bert}


def attention(torch, qkv, heads):
    """Causal self-attention from queries, keys and values side by side."""
    b, t, width = qkv.shape
    q, k, v = (part.view(b, t, heads, -1).transpose(1, 2) for part in qkv.chunk(3, dim=2))
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return y.transpose(1, 2).reshape(b, t, width // 3)


def torch_operations(torch):
    """name -> a function that makes what is timed: forward, and backward from a gradient of ones."""
    functional = torch.nn.functional
    images, filters, channel = (64, 64, 32, 32), (64, 64, 3, 3), (64,)

    def operation(call, *shapes, with_backward=True):
        def make():
            inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]

            def once():
                y = call(*inputs)
                if with_backward:
                    for x in inputs:
                        x.grad = None
                    y.backward(torch.ones_like(y))

            return once

        return make

    def convolution(x, w):
        return functional.conv2d(x, w, padding=1)

    def norm(x, gamma, beta):
        return functional.batch_norm(x, None, None, gamma, beta, training=True)

    labels = torch.randint(0, 4096, (2048,))
    return {
        "convolution-3x3/64x64x32x32/forward": operation(convolution, images, filters, with_backward=False),
        "convolution-3x3/64x64x32x32/forward-backward": operation(convolution, images, filters),
        "batch-norm-relu/64x64x32x32": operation(lambda *x: functional.relu(norm(*x), inplace=True), images, channel, channel),
        "batch-norm-add-relu/64x64x32x32": operation(
            lambda x, gamma, beta, s: functional.relu(norm(x, gamma, beta).add_(s), inplace=True), images, channel, channel, images
        ),
        "relu/64x64x32x32": operation(functional.relu, images),
        "add-relu/64x64x32x32": operation(lambda x, y: functional.relu(x + y, inplace=True), images, images),
        "max-pool-3x3/64x64x32x32": operation(lambda x: functional.max_pool2d(x, 3, 2, 1), images),
        "global-average-pool/64x512x4x4": operation(lambda x: x.mean((2, 3)), (64, 512, 4, 4)),
        "cross-entropy/2048x4096": operation(lambda x: functional.cross_entropy(x, labels), (2048, 4096)),
        "layer-norm/2048x128": operation(
            lambda x, gamma, beta: functional.layer_norm(x, (128,), gamma, beta), (2048, 128), (128,), (128,)
        ),
        "attention/32x64x4x32": operation(lambda x: attention(torch, x, 4), (32, 64, 384)),
        "gelu/2048x512": operation(lambda x: functional.gelu(x, approximate="tanh"), (2048, 512)),
    }


def milliseconds(call, repeats=1):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) * 1e3 / repeats


def torch_with(threads):
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    return torch


def peak_mib_in_torch(threads, work):
    """The peak memory of this process after some calls of a work, in MiB; None where the system does not say."""
    works = torch_works(torch_with(threads))
    call = next(make for (name, _), make in works.items() if name == work)()
    for _ in range(WARM_UP):
        call()
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    except FileNotFoundError:
        return None


def measure_torch(threads, filters):
    """One run in PyTorch: a list like that of `isorate bench --format json`, with the variant."""
    torch = torch_with(threads)
    works = torch_works(torch)
    product = works["matmul/1024x1024", "float32"]()
    measured = []
    for (name, variant), make in works.items():
        if filters and not any(part in name for part in filters):
            continue
        call, repeats = make(), 1
        for _ in range(WARM_UP):
            product()
            repeats = min(1000, max(1, round(2 / milliseconds(call))))
        products, times, start = [], [], time.perf_counter()
        while len(times) < FEWEST or (len(times) < MOST and time.perf_counter() - start < SECONDS):
            products.append(milliseconds(product))
            times.append(milliseconds(call, repeats))
        took, rate = statistics.median(times), 2 * 1024**3 / statistics.median(products) / 1e6
        measured.append({"work": name, "variant": variant, "milliseconds": took, "matmul_gflops": rate})
    return {"version": torch.__version__, "works": measured}


def run(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="parts of the names of works; all if none is given")
    parser.add_argument("--isorate", default="target/release/isorate", help="the program (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of either program (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of either program (default: %(default)s)")
    parser.add_argument("--format", choices=["table", "json"], default="table", help="form of the output")
    parser.add_argument("--torch-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--torch-peak-memory-of", metavar="WORK", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torch_only:
        print(json.dumps(measure_torch(arguments.threads, arguments.filters)))
        return

    if arguments.torch_peak_memory_of:
        print(json.dumps(peak_mib_in_torch(arguments.threads, arguments.torch_peak_memory_of)))
        return

    threads = ["--threads", str(arguments.threads)]
    this = [sys.executable, __file__, *threads]
    torch_run = [*this, *arguments.filters, "--torch-only"]
    names = None
    ours, theirs, rates, version = {}, {}, {"isorate": [], "pytorch": []}, ""
    for _ in range(arguments.rounds):
        # PyTorch goes first, since it says which works there are.
        result = run(torch_run)
        version = result["version"]
        for entry in result["works"]:
            theirs.setdefault((entry["work"], entry["variant"]), []).append(entry["milliseconds"])
            rates["pytorch"].append(entry["matmul_gflops"])
        names = names or list(dict.fromkeys(work for work, _ in theirs))
        if not names:
            sys.exit(f"no work has {' or '.join(arguments.filters)} in its name")
        for entry in run([arguments.isorate, "bench", "--format", "json", *threads, *names]):
            ours.setdefault(entry["work"], []).append(entry)
            if entry["fraction_of_matmul"]:
                rates["isorate"].append(entry["gflops"] / entry["fraction_of_matmul"])

    rows = []
    for (work, variant), times in theirs.items():
        mine = statistics.median(entry["milliseconds"] for entry in ours[work])
        peaks = [entry["peak_mib"] for entry in ours[work] if entry["peak_mib"] is not None]
        fractions = [entry["fraction_of_matmul"] for entry in ours[work] if entry["fraction_of_matmul"] is not None]
        rows.append(
            {
                "work": work,
                "pytorch_variant": variant,
                "isorate_milliseconds": mine,
                "pytorch_milliseconds": statistics.median(times),
                "ratio": mine / statistics.median(times),
                "isorate_fraction_of_matmul": statistics.median(fractions) if fractions else None,
                "isorate_peak_mib": statistics.median(peaks) if peaks else None,
                "pytorch_peak_mib": run([*this, "--torch-peak-memory-of", work]) if peaks else None,
            }
        )
    rates = {program: statistics.median(values) if values else None for program, values in rates.items()}
    if arguments.format == "json":
        setting = {"rounds": arguments.rounds, "threads": arguments.threads, "pytorch": version, "matmul_gflops": rates}
        print(json.dumps({**setting, "works": rows}, indent=2))
        return
    shown = {program: "-" if rate is None else f"{rate:.0f}" for program, rate in rates.items()}
    print(f"PyTorch {version}, {arguments.threads} threads, medians of {arguments.rounds} alternating runs;", end=" ")
    print(f"matrix product 1024: {shown['isorate']} GFLOP/s here, {shown['pytorch']} in PyTorch")
    print()
    print("| work | PyTorch in | isorate ms | PyTorch ms | ratio | of our matrix product | isorate MiB | PyTorch MiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        fraction = row["isorate_fraction_of_matmul"]
        cells = [row["work"], row["pytorch_variant"], f"{row['isorate_milliseconds']:.3g}"]
        cells += [f"{row['pytorch_milliseconds']:.3g}", f"{row['ratio']:.2f}", "-" if fraction is None else f"{fraction:.2f}"]
        cells += ["-" if row[peak] is None else f"{row[peak]:.0f}" for peak in ("isorate_peak_mib", "pytorch_peak_mib")]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
