"""Where the time of a work of `isorate bench` goes: samples of the thread that runs it, by operation.

    cargo build --release -p isorate-bench --example profile
    python3 crates/bench/step_profile.py train/mlp/sgd train/gpt/adamw

Needs Linux's perf. The work runs on one thread of rayon's pool, which shares its parts out: what that thread does at a moment is
what the work waits for. The innermost function of a sample's stack that belongs to an operation decides; the sample is in
the pass "backward" if a function of the backward pass is on its stack.
"""

import argparse
import collections
import os
import re
import subprocess
import tempfile

OPERATIONS = {
    "orthogonalization": r"isorate_optim::orthogonalize|gemm_v0_gemm|faer::",
    "the rest of the optimizer": r"isorate_optim::(?!optimizer::Optimizer::backward_step)",
    "convolution": r"isorate_kernels::conv|conv2d",
    "batch norm": r"isorate_kernels::batch_norm",
    "pooling": r"isorate_kernels::pool",
    "loss with the head": r"isorate_kernels::linear_cross_entropy",
    "cross-entropy": r"isorate_kernels::cross_entropy",
    "attention": r"isorate_kernels::attention",
    "layer norm": r"isorate_kernels::layer_norm",
    "gelu": r"isorate_kernels::gelu",
    "embedding": r"isorate_kernels::embedding",
    "affine map": r"isorate_kernels::affine",
    "relu": r"isorate_kernels::activation",
    "sums": r"isorate_kernels::add",
}
# Where no operation of ours is on the stack.
CANDLE = {
    "candle's convolution": r"candle_core::(?:.*::)?conv",
    "candle's matrix product": r"matmul|MatMul",
    "candle's zeros": r"zeros",
    "candle's other operations": r"candle_core::(?!backprop)",
}
BACKWARD = re.compile(r"::bwd|backprop|isorate_kernels::graph::(backward|along)")


def stacks(data):
    """The thread and the functions of each sample, from the innermost out."""
    command = ["perf", "script", "-i", data, "-F", "comm,tid,ip,sym"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for sample in text.strip().split("\n\n"):
        head, *frames = sample.splitlines()
        yield head.split()[-1], [frame.split(maxsplit=1)[-1] for frame in frames]


def operation(frames):
    """The innermost function with a name decides."""
    direction = "backward" if any(BACKWARD.search(frame) for frame in frames) else "forward"
    for names in (OPERATIONS, CANDLE):
        for frame in frames:
            for name, pattern in names.items():
                if re.search(pattern, frame):
                    return name, "" if "optim" in name or "orthogonal" in name else direction
    return "the rest", direction


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="+", metavar="WORK", help="names of works")
    parser.add_argument("--program", default="target/release/examples/profile", help="the example (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="of each work (default: %(default)s)")
    parser.add_argument("--composed", action="store_true", help="with operations composed of candle's own: what was before")
    parser.add_argument("--threads", type=int, default=2, help="threads (default: %(default)s)")
    arguments = parser.parse_args()
    environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)}
    for work in arguments.works:
        with tempfile.TemporaryDirectory() as folder:
            data = f"{folder}/perf.data"
            record = ["perf", "record", "-q", "-F", "500", "-e", "cpu-clock", "--call-graph", "dwarf,32768", "-o", data]
            run = [*record, arguments.program, work, str(arguments.seconds), *(["composed"] if arguments.composed else [])]
            count = int(subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout)
            samples = collections.defaultdict(list)
            for thread, frames in stacks(data):
                samples[thread].append(frames)
        # The thread that runs the work is the one whose stacks hold `repeat`.
        threads = {thread: sum("isorate_bench" in frame for s in stacks_of for frame in s) for thread, stacks_of in samples.items()}
        chosen = samples[max(threads, key=threads.get)]
        parts = collections.Counter(operation(frames) for frames in chosen)
        milliseconds = 1e3 * arguments.seconds / count
        print(f"{work}: {milliseconds:.3g} ms, {len(chosen)} samples\n\n| operation | pass | ms | share |\n| --- | --- | ---: | ---: |")
        for (name, direction), number in parts.most_common():
            share = number / len(chosen)
            print(f"| {name} | {direction} | {share * milliseconds:.2f} | {share:.1%} |")
        print()


if __name__ == "__main__":
    main()
