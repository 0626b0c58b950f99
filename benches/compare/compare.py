#!/usr/bin/env python3
"""wgloss against what people would use instead, in turns.

    benches/compare/compare.py [--device cpu|cuda] [--only TEXT] [--old BINARY] [--json FILE]

For each case: rounds of short runs of wgloss, of PyTorch (eager, torch.compile; on CUDA a fused Triton kernel too) and, with
--old, of another wgloss. A round goes through all of them, each round begins with the next one, and a ratio is the median
of the rounds' ratios: what slows the machine down slows all. Loss and gradient; a ratio above 1 says that wgloss is
faster. Needs Python 3.9, PyTorch 2 and the command (cargo build --release --features cli).
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

# glibc gives large blocks back to the system and takes them again, zeroed page by page, at every step: half of a step's
# time on a CPU. Nothing is given back with these, which have to be there before the process begins.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
}
if __name__ == "__main__" and any(os.environ.get(k) != v for k, v in KEEP_MEMORY.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_MEMORY})

import torch

import peers

# Tensors take turns until they have this together, as those of wgloss do: more than any cache.
ROTATED = 256 << 20
MOST_SETS = 16
# Most elements of a case on a CPU: a pair and dimension counts a fiftieth.
MOST_ON_CPU = 1 << 23
HERE = pathlib.Path(__file__).resolve().parent


class Case:
    def __init__(self, loss, rows, cols, dtype="f32", labels=None):
        self.loss, self.rows, self.cols, self.dtype, self.labels = loss, rows, cols, dtype, labels

    def __str__(self):
        labels = f"x{self.labels}" if self.labels else ""
        return f"{self.loss} {self.rows}x{self.cols}{labels} {self.dtype}"

    def elements(self):
        if self.loss == "contrastive":
            return self.rows * self.rows * self.cols // 50
        return self.rows * self.cols

    def torch_dtype(self):
        return {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[self.dtype]

    def command(self):
        args = ["bench", self.loss, "--shape", f"{self.rows}x{self.cols}", "--dtype", self.dtype]
        if self.labels:
            return args + ["--labels", str(self.labels)]
        if self.dtype != "f32" and self.loss != "mcm":
            args += ["--outputs", "both-same"]  # PyTorch's gradient has the logits' type too
        return args


def cases():
    """The most important first: where the time ends, the rest is left out."""
    rows = [(1024, 8192), (8192, 80), (1024, 983), (64, 65536), (65536, 14), (512, 131072), (512, 8921), (256, 670091)]
    few = [(1024, 8192), (8192, 80), (1024, 983), (64, 65536)]
    sets = [(4096, 128, 80), (1024, 128, 80), (256, 128, 80), (8192, 768, 8921), (65536, 768, 1000)]
    all_cases = [Case("zlpr", *shape) for shape in rows]
    all_cases += [Case("contrastive", n, d, labels=labels) for n, d, labels in sets[:2]]
    all_cases += [Case("zlpr", 512, 131072, "f16"), Case("bce", 1024, 8192), Case("mcm", 64, 4130)]
    all_cases += [Case("asl", 1024, 8192), Case("focal", 1024, 8192), Case("zlpr", 1024, 8192, "bf16")]
    all_cases += [Case("contrastive", n, d, labels=labels) for n, d, labels in sets[2:]]
    all_cases += [Case("mcm", *shape) for shape in [(64, 499), (4, 82192)]]
    all_cases += [Case("bce", *shape) for shape in few[1:]]
    all_cases += [Case("zlpr", *shape, "bf16") for shape in few[1:]]
    all_cases += [Case(loss, *shape) for loss in ["asl", "focal"] for shape in few[1:]]
    all_cases += [Case("zlpr", 1024, 8192, "f16"), Case("bce", 1024, 8192, "bf16")]
    all_cases += [Case("contrastive", n, d, "bf16", labels) for n, d, labels in sets[:4]]
    return all_cases


# ---- one turn of each


class Wgloss:
    """Runs of a binary. `same` has it use the same tensors at every call, which older ones always do."""

    def __init__(self, name, binary, case, args, same=False, old=False):
        self.name, self.case, self.cuda = name, case, args.device == "cuda"
        self.command = [binary, *case.command(), "--time", str(args.time), "--json"]
        if same and not old:
            self.command += ["--sets", "1"]

    def turn(self, seconds):
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or f"exit code {done.returncode}")
        found = json.loads(done.stdout)
        # Both sides by the same clock: events and timestamps on a GPU, the host's on a CPU.
        on_device = found["gpu_us"] if self.cuda else None
        return (on_device or found["wall_us"]) / 1e3


def graphs(call, sets):
    """The same calls as CUDA graphs, so that only the device's work is timed, as wgloss's timestamps do: called one by one,
    PyTorch's kernels wait for the host, which takes longer than they do."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for i in range(sets):
            call(i)
    torch.cuda.current_stream().wait_stream(side)
    recorded, pool = [], torch.cuda.graph_pool_handle()
    for i in range(sets):
        recorded.append(torch.cuda.CUDAGraph())
        with torch.cuda.graph(recorded[i], pool=pool):
            call(i)
    # Graphs hold addresses, not tensors: with `call` the tensors stay too.
    return lambda i, kept=call: recorded[i].replay()


class Torch:
    def __init__(self, peer, case, args):
        self.name, self.cuda = peer.name, args.device == "cuda"
        needs = peer.bytes(case)
        free = free_bytes(self.cuda)
        if needs > free:
            raise RuntimeError(f"needs about {needs / 2**30:.0f} GiB, {free / 2**30:.0f} are free")
        size = case.rows * case.cols * case.torch_dtype().itemsize
        count = max(1, min(MOST_SETS, math.ceil(ROTATED / (2 * size))))
        if case.loss in ("contrastive", "mcm"):
            count = min(count, 4)  # computing limits these, not the memory
        self.call, self.sets, self.next = peer.prepare(case, args.device, count), count, 0
        if self.cuda and not args.no_graphs:
            try:
                self.call = graphs(self.call, count)
                self.name += ", graph"
            except RuntimeError:
                torch.cuda.synchronize()  # what cannot be captured is called as it is

    def once(self):
        self.call(self.next)
        self.next = (self.next + 1) % self.sets

    def turn(self, seconds):
        for _ in range(2):
            self.once()
        times, end = [], time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < end:
            if self.cuda:
                first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda.synchronize()
                first.record()
                self.once()
                last.record()
                torch.cuda.synchronize()
                times.append(first.elapsed_time(last))
            else:
                began = time.perf_counter()
                self.once()
                times.append((time.perf_counter() - began) * 1e3)
        if self.cuda:
            torch.cuda.empty_cache()  # the other side needs memory too
        return statistics.median(times)


def free_bytes(cuda):
    if cuda:
        return int(torch.cuda.mem_get_info()[0] * 0.9)
    with open("/proc/meminfo") as lines:
        found = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines)}
    return found["MemAvailable"] * 1024 // 2


# ---- a case


def compare(case, args):
    """The times of all that take part, by name, a list of rounds each; and why others do not."""
    ours = [Wgloss("wgloss", args.wgloss, case, args)]
    if args.old:
        ours.append(Wgloss("wgloss, same tensors", args.wgloss, case, args, same=True))
        ours.append(Wgloss("old wgloss, same tensors", args.old, case, args, same=True, old=True))
    missing, players = {}, list(ours)
    torch._dynamo.reset()
    for peer in peers.of(case, args.device):
        try:
            player = Torch(peer, case, args)
            player.turn(0)  # compiles, unless a graph had to
            players.append(player)
        except Exception as error:
            missing[peer.name] = short(error)
    times = {player.name: [] for player in players}
    for turn in range(args.rounds):
        at = turn % len(players)
        for player in players[at:] + players[:at]:
            if player.name in missing:
                continue
            try:
                times[player.name].append(player.turn(args.time))
            except Exception as error:
                missing[player.name] = short(error)
    for name in missing:
        times.pop(name, None)
    return times, missing


def short(error):
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "out of memory"
    if isinstance(error, subprocess.TimeoutExpired):
        return "no answer in 120 s"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


def ratios(times, name, to):
    return [theirs / ours for theirs, ours in zip(times[name], times[to])]


def spread(values, form):
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{form.format(middle):>9} [{form.format(low)}, {form.format(high)}]"


def table(case, times, missing):
    lines = [str(case)]
    for name, found in times.items():
        line = f"  {name:<28}{spread(found, '{:.3f}'):>34} ms"
        base = "wgloss, same tensors" if name.startswith("old") else "wgloss"
        if name != base and not name.startswith("wgloss") and base in times:
            line += f"{spread(ratios(times, name, base), '{:.2f}'):>30} of wgloss's"
        lines.append(line)
    lines += [f"  {name:<28} not measured: {reason}" for name, reason in missing.items()]
    return "\n".join(lines)


def best(times):
    """PyTorch's fastest, and the ratio to it."""
    own = [name for name in times if name.startswith("torch")]
    if not own or "wgloss" not in times:
        return None
    name = min(own, key=lambda name: statistics.median(times[name]))
    return name, statistics.median(ratios(times, name, "wgloss"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wgloss", default=str(HERE.parents[1] / "target/release/wgloss"), help="the command")
    parser.add_argument("--old", help="another wgloss to compare with; both then use the same tensors at every call")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="", help="cases with this in their name alone, such as 'zlpr 1024x'")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time", type=float, default=0.3, help="seconds of a run")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds after which no case begins")
    parser.add_argument("--most", type=int, help=f"most elements of a case [default: {MOST_ON_CPU} on a CPU]")
    parser.add_argument("--no-graphs", action="store_true", help="CUDA: PyTorch's kernels one by one")
    parser.add_argument("--json", help="append a line for each case to this file")
    args = parser.parse_args()
    if args.most is None:
        args.most = MOST_ON_CPU if args.device == "cpu" else sys.maxsize
    return args


def main():
    args, began = arguments(), time.monotonic()
    if args.device == "cuda":
        where = torch.cuda.get_device_name()
    else:
        where = f"{torch.get_num_threads()} threads"
    how = ", as CUDA graphs" if args.device == "cuda" and not args.no_graphs else ""
    print(f"PyTorch {torch.__version__}{how}, {args.device}: {where}; {args.rounds} rounds of {args.time} s", flush=True)
    summary, good = [], True
    for case in cases():
        if args.only not in str(case):
            continue
        if case.elements() > args.most:
            print(f"{case}\n  skipped: {case.elements()} elements are more than {args.most} (--most)", flush=True)
            continue
        if time.monotonic() - began > args.budget:
            print(f"{case}\n  skipped: no time was left (--budget)", flush=True)
            continue
        times, missing = compare(case, args)
        good &= "wgloss" in times
        print(table(case, times, missing), flush=True)
        fastest = best(times)
        if fastest:
            summary.append((str(case), *fastest))
        if args.json:
            row = {"case": str(case), "device": where, "torch": torch.__version__, "ms": times, "missing": missing}
            with open(args.json, "a") as file:
                file.write(json.dumps(row) + "\n")
    print("\nPyTorch's best against wgloss, ratio of times:")
    for case, name, ratio in summary:
        print(f"  {case:<32}{ratio:>8.2f}  {name}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
