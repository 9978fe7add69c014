"""The works of `isorate bench` that PyTorch can do as well, measured in both programs in turn, and their ratios.

PyTorch is no dependency of the project. In a scratch environment outside of the repository:

    python3 -m venv SCRATCH && SCRATCH/bin/pip install torch numpy
    just bench-pytorch SCRATCH/bin/python

Each round runs the one program and then the other, each with the same number of threads; times are medians over the rounds
of medians within a run. A ratio below 1 means that isorate takes less time. Both programs time a 1024x1024x1024 product in
float32 beside every work, so that the rates that the two reach can be told apart from what the machine does otherwise.

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
        optimizer = torch.optim.Muon(params, lr=LR, weight_decay=0.0)

        def step():
            _muon._zeropower_via_newtonschulz = iteration
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
        def __init__(self):
            layers = []
            for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
                layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
            self.net = torch.nn.Sequential(*layers[:-1])
            self.images, self.labels = torch.randn(BATCH, WIDTHS[0]), torch.randint(0, WIDTHS[-1], (BATCH,))

        def loss(self):
            return torch.nn.functional.cross_entropy(self.net(self.images), self.labels)

        def gradients(self):
            self.net.zero_grad()
            self.loss().backward()

    def rules(params):
        matrices = [param for param in params if param.ndim == 2]
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
            training = Training()
            training.gradients()
            return rules(list(training.net.parameters()))[key]()

        return make

    def whole_step(key):
        def make():
            training = Training()
            step = rules(list(training.net.parameters()))[key]()

            def call():
                training.gradients()
                step()

            return call

        return make

    def forward():
        return Training().loss

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
    works["train/mlp/forward", "float32"] = forward
    works["train/mlp/forward-backward", "float32"] = lambda: Training().gradients
    for rule, dtype in keys:
        if rule != "adam":
            works[f"train/mlp/{rule}{suffix[dtype]}", dtype] = whole_step((rule, dtype))
    return works


def milliseconds(call, repeats=1):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) * 1e3 / repeats


def measure_torch(threads, filters):
    """One run in PyTorch: a list like that of `isorate bench --format json`, with the variant."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
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
    arguments = parser.parse_args()
    if arguments.torch_only:
        print(json.dumps(measure_torch(arguments.threads, arguments.filters)))
        return

    threads = ["--threads", str(arguments.threads)]
    torch_run = [sys.executable, __file__, *arguments.filters, *threads, "--torch-only"]
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
        fractions = [entry["fraction_of_matmul"] for entry in ours[work] if entry["fraction_of_matmul"] is not None]
        rows.append(
            {
                "work": work,
                "pytorch_variant": variant,
                "isorate_milliseconds": mine,
                "pytorch_milliseconds": statistics.median(times),
                "ratio": mine / statistics.median(times),
                "isorate_fraction_of_matmul": statistics.median(fractions) if fractions else None,
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
    print("| work | PyTorch in | isorate ms | PyTorch ms | ratio | of our matrix product |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        fraction = row["isorate_fraction_of_matmul"]
        cells = [row["work"], row["pytorch_variant"], f"{row['isorate_milliseconds']:.3g}"]
        cells += [f"{row['pytorch_milliseconds']:.3g}", f"{row['ratio']:.2f}", "-" if fraction is None else f"{fraction:.2f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
