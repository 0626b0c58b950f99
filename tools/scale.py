#!/usr/bin/env python3
"""What sharding costs and how it scales: formulas, and a small discrete simulation. Prints the tables of docs/scale.md.

    python3 tools/scale.py            all tables
    python3 tools/scale.py --check    that the simulation has the measured steps within 20 %, else exit status 1
    python3 tools/scale.py FILE       the same with the lines of another measurement (examples/scale of wgloss-mpi)

Needs nothing but Python's standard library.
"""

import math
import sys

# wgloss-mpi/examples/scale: name, ranks, seconds, CPU seconds. llvmpipe (LLVM 15.0.6, 256 bits), Mesa 25.0.7, two cores,
# OpenMPI 4.1.4 over shared memory, 2026-11-28.
MEASURED = """
rows-first 1 0.021362 0.023034
rows-second 1 0.024132 0.031147
linear-first 1 0.050479 0.051954
linear-second 1 0.129823 0.135786
contrastive-first 1 0.000085 0.000094
contrastive-second 1 0.294374 0.296613
contrastive-third 1 0.000101 0.000117
rows-first 2 0.010845 0.010893
rows-second 2 0.012005 0.012083
linear-first 2 0.025527 0.035092
linear-second 2 0.064439 0.065471
contrastive-first 2 0.000060 0.000069
contrastive-second 2 0.145115 0.146384
contrastive-third 2 0.000064 0.000066
rows-first 4 0.005629 0.005804
rows-second 4 0.006467 0.006533
linear-first 4 0.013224 0.013794
linear-second 4 0.033154 0.033854
contrastive-first 4 0.000060 0.000064
contrastive-second 4 0.075976 0.082916
contrastive-third 4 0.000048 0.000051
50-gathers-4 2 0.000059 0.000068
5-gathers-4194304 2 0.095049 0.091200
5-sums-4194304 2 0.030528 0.029798
rows 1 0.049774 0
linear 1 0.200453 0
contrastive 1 0.297018 0
rows 2 0.025881 0
linear 2 0.102454 0
contrastive 2 0.156176 0
rows 4 0.025610 0
linear 4 0.092932 0
contrastive 4 0.158868 0
"""

CORES = 2  # of that machine
TOLERANCE = 0.2
# What the measured steps are of: rows and labels; rows, labels, components; samples, components, words of labels.
ROWS, LINEAR, CONTRASTIVE = (256, 65_536), (256, 16_384, 64), (2_048, 128, 2)
WORDS = 5  # of ZLPR's accumulator
NOISE = 1e-12


# --- formulas: bytes that a rank sends for a step


def bytes_rows(ranks, rows, words=WORDS):
    return 4 * words * rows * (ranks - 1)


def bytes_linear(ranks, rows, dims, words=WORDS):
    return bytes_rows(ranks, rows, words) + 2 * 4 * rows * dims * (ranks - 1) / ranks


def bytes_keys(ranks, samples, dims, words, size=4):
    return samples * (size * dims + 4 * words) * (ranks - 1) / ranks


def bytes_gradients(ranks, samples, dims):
    return 4 * samples * dims * (ranks - 1) / ranks


def bytes_contrastive(ranks, samples, dims, words, size=4):
    return bytes_keys(ranks, samples, dims, words, size) + bytes_gradients(ranks, samples, dims)


# --- the simulation: ranks that compute on what they share, and meet in collectives


class Link:
    """Seconds until a message arrives, seconds between two that a rank sends, bytes a second."""

    def __init__(self, latency, gap, rate):
        self.latency, self.gap, self.rate = latency, gap, rate

    def slower(self, ranks, cores):
        """Where cores carry the bytes, ranks share them as they share them for kernels."""
        return 1.0 if cores is None else max(1.0, ranks / cores)


def compute(starts, works, cores):
    """When each rank is done with so many seconds of work on one core, or on its own device where `cores` is none."""
    if cores is None:
        return [start + work for start, work in zip(starts, works)]
    left, done, now = list(works), [None] * len(works), min(starts)
    while None in done:
        here = [r for r in range(len(left)) if done[r] is None and starts[r] <= now + NOISE]
        coming = [starts[r] for r in range(len(left)) if done[r] is None and starts[r] > now + NOISE]
        speed = min(1.0, cores / len(here)) if here else 1.0
        ends = [now + left[r] / speed for r in here]
        then = min(ends + coming)
        for r in here:
            left[r] -= (then - now) * speed
            if left[r] <= NOISE:
                done[r] = then
        now = then
    return done


def ring(starts, block, link, cores):
    """When each rank has what all others sent it along a ring, a block from each."""
    ranks, at = len(starts), list(starts)
    message = link.latency + link.slower(ranks, cores) * block / link.rate
    for _ in range(ranks - 1):
        at = [max(at[r], at[(r - 1) % ranks]) + message for r in range(ranks)]
    return at


def doubling(starts, block, link, cores):
    """The same in pairs that exchange all they have: fewer messages, as many bytes. For a power of two."""
    ranks, at, have = len(starts), list(starts), 1
    while have < ranks:
        message = link.latency + link.slower(ranks, cores) * have * block / link.rate
        at = [max(at[r], at[r ^ have]) + message for r in range(ranks)]
        have *= 2
    return at


def gather(starts, block, link, cores):
    """An all-gather by whichever is faster, as libraries choose by size."""
    ways = [doubling(starts, block, link, cores)]
    if len(starts) <= 1024:
        ways.append(ring(starts, block, link, cores))
    return min(ways, key=max)


def pairs(starts, block, link, cores):
    """When each rank has its block from each other one, all sent at once."""
    ranks = len(starts)
    if ranks == 1:
        return starts
    each = link.gap + link.slower(ranks, cores) * block / link.rate
    return [max(starts) + link.latency + (ranks - 1) * each] * ranks


def step_rows(phases, ranks, rows, link, cores):
    at = compute([0.0] * ranks, [phases["first"]] * ranks, cores)
    at = gather(at, 4 * WORDS * rows, link, cores)
    return max(compute(at, [phases["second"]] * ranks, cores))


def step_linear(phases, ranks, rows, dims, link, cores):
    at = compute([0.0] * ranks, [phases["first"]] * ranks, cores)
    at = gather(at, 4 * WORDS * rows, link, cores)
    at = compute(at, [phases["second"]] * ranks, cores)
    at = pairs(at, 4 * rows * dims / ranks, link, cores)
    return max(gather(at, 4 * rows * dims / ranks, link, cores))


def step_contrastive(phases, ranks, samples, dims, words, link, cores, size=4):
    own = samples / ranks
    at = compute([0.0] * ranks, [phases["first"]] * ranks, cores)
    at = gather(at, own * (size * dims + 4 * words), link, cores)
    at = compute(at, [phases["second"]] * ranks, cores)
    at = gather(at, 24, link, cores)
    at = pairs(at, own * 4 * dims, link, cores)
    return max(compute(at, [phases["third"]] * ranks, cores))


# --- what was measured


def read(text):
    found = {}
    for line in text.split("\n"):
        field = line.split()
        if len(field) == 4 and field[1].isdigit():
            found[field[0], int(field[1])] = float(field[2])
    return found


def measured_link(found):
    """Of the lines of two ranks: a gather of a word, and of 4 MiB each."""
    latency = found["50-gathers-4", 2] / 50
    big = found["5-gathers-4194304", 2] / 5
    return Link(latency, latency, 4194304 / (big - latency))


def phases_of(found, scheme, ranks):
    names = ("first", "second", "third")
    return {name: found[f"{scheme}-{name}", ranks] for name in names if (f"{scheme}-{name}", ranks) in found}


def compare(found):
    link, wrong = measured_link(found), 0
    print(f"link: {link.latency * 1e6:.1f} µs a message, {link.rate / 1e9:.2f} GB/s\n")
    print("| scheme | ranks | measured | simulated | difference |\n| --- | --- | --- | --- | --- |")
    for scheme in ("rows", "linear", "contrastive"):
        for ranks in (1, 2, 4):
            phases = phases_of(found, scheme, ranks)
            if scheme == "rows":
                took = step_rows(phases, ranks, ROWS[0], link, CORES)
            elif scheme == "linear":
                took = step_linear(phases, ranks, LINEAR[0], LINEAR[2], link, CORES)
            else:
                took = step_contrastive(phases, ranks, *CONTRASTIVE, link, CORES)
            truth = found[scheme, ranks]
            off = took / truth - 1
            wrong += abs(off) > TOLERANCE
            print(f"| {scheme} | {ranks} | {truth * 1e3:.1f} ms | {took * 1e3:.1f} ms | {off * 100:+.0f} % |")
    print()
    return wrong


# --- on paper: an H100 for each rank, its link with so many bytes a second; latencies are assumed

# benches/RESULTS.md: contrastive 65536 x 768, f32, 6 N^2 D operations in 722 ms; 88 % of a copy's bandwidth.
PRODUCTS = 27.4e12
MEMORY = 0.88 * 2.9e12
LINKS = {"25 GB/s": Link(5e-6, 5e-7, 25e9), "400 GB/s": Link(3e-6, 3e-7, 400e9)}
RANKS = (4, 16, 64, 256, 1024)


def contrastive_phases(ranks, samples, dims):
    """The products of the anchors with all keys, twice, and the gradients to both sides: 8 n N D."""
    return {"first": 0.0, "second": 8 * (samples / ranks) * samples * dims / PRODUCTS, "third": 0.0}


def alone(rows, labels, dims):
    """Bytes that each rank would send for a step where each had some rows and all weights, and gradients were added up."""
    return 2 * 4 * labels * dims


def linear_phases(ranks, rows, labels, dims):
    """ZLPR in tiles: the logits twice, the gradients to both sides: 2, then 6 B L D. Weights are read thrice and written once."""
    share = labels / ranks
    product, weights = 2 * rows * share * dims / PRODUCTS, 4 * share * dims / MEMORY
    return {"first": max(product, weights), "second": max(3 * product, 3 * weights)}


# Published: samples or rows, labels, components. The last two columns say of what.
INFCL = [(262_144, 512, "256 K, ViT-B/32"), (4_194_304, 768, "4 M, ViT-L/14"), (12_582_912, 768, "12 M, ViT-L/14")]
RENEE = [
    (256, 670_091, 1_024, "AmazonTitles-670K"),
    (256, 2_812_281, 1_024, "AmazonTitles-3M"),
    (2_048, 501_070, 768, "Wiki-500K"),
    (2_048, 120_000_000, 768, "120 M labels"),
]


def step_blocks(ranks, samples, dims, link, size=4):
    """A ring that computes with each block while the next is on its way, there and, with the gradients to keys, back."""
    own = samples / ranks
    product = 2 * own * own * dims / PRODUCTS
    there, back = own * size * dims, own * (size + 4) * dims
    total = product + max(3 * product, link.latency + own * 4 * dims / link.rate)  # the last block, and its gradient's way home
    for bytes_of_block, work in ((there, product), (back, 3 * product)):
        total += (ranks - 1) * max(work, link.latency + bytes_of_block / link.rate)
    return total


def seconds(x):
    for unit, one in (("s", 1.0), ("ms", 1e-3)):
        if x >= one:
            return f"{x / one:,.0f} {unit}" if x >= 100 * one else f"{x / one:.3g} {unit}"
    return f"{x * 1e6:.3g} µs"


def size(x):
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if x >= one:
            return f"{x / one:.3g} {unit}"
    return f"{x:.0f} B"


def crossing(compute_at, step_at):
    """The first number of ranks, by powers of two, at which a step waits for longer than it computes."""
    for power in range(1, 18):
        ranks = 2**power
        if step_at(ranks) > 2 * compute_at(ranks):
            return f"{ranks:,}"
    return "more than 131,072"


def paper():
    head = ("contrastive, f32", "ranks", "keys on a rank", "sent", "computed", *LINKS, *(f"blocks, {name}" for name in LINKS))
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for samples, dims, name in INFCL:
        for ranks in RANKS:
            phases = contrastive_phases(ranks, samples, dims)
            sent = bytes_contrastive(ranks, samples, dims, 1)
            steps = [step_contrastive(phases, ranks, samples, dims, 1, link, None) for link in LINKS.values()]
            steps += [step_blocks(ranks, samples, dims, link) for link in LINKS.values()]
            held = 2 * 4 * samples * dims
            row = [name, str(ranks), size(held), size(sent), seconds(sum(phases.values())), *map(seconds, steps)]
            print("| " + " | ".join(row) + " |")
    print("\n| last layer, f32, ZLPR | ranks | sent | with rows over ranks | computed | 25 GB/s | 400 GB/s |\n" + "| --- " * 7 + "|")
    for rows, labels, dims, name in RENEE:
        for ranks in RANKS:
            phases = linear_phases(ranks, rows, labels, dims)
            sent = bytes_linear(ranks, rows, dims)
            steps = [step_linear(phases, ranks, rows, dims, link, None) for link in LINKS.values()]
            other = alone(rows, labels, dims) * (ranks - 1) / ranks
            row = [name, str(ranks), size(sent), size(other), seconds(sum(phases.values())), *map(seconds, steps)]
            print("| " + " | ".join(row) + " |")
    print("\n| from how many ranks on a step waits longer than it computes | 25 GB/s | 400 GB/s |\n| --- | --- | --- |")
    for samples, dims, name in INFCL:
        phases = lambda r: contrastive_phases(r, samples, dims)
        step = lambda r, link: step_contrastive(phases(r), r, samples, dims, 1, link, None)
        at = [crossing(lambda r: sum(phases(r).values()), lambda r: step(r, link)) for link in LINKS.values()]
        print(f"| contrastive {name} | {at[0]} | {at[1]} |")
    for rows, labels, dims, name in RENEE:
        phases = lambda r: linear_phases(r, rows, labels, dims)
        step = lambda r, link: step_linear(phases(r), r, rows, dims, link, None)
        at = [crossing(lambda r: sum(phases(r).values()), lambda r: step(r, link)) for link in LINKS.values()]
        print(f"| last layer {name} | {at[0]} | {at[1]} |")


def main():
    arguments = sys.argv[1:]
    check = "--check" in arguments
    files = [name for name in arguments if name != "--check"]
    text = MEASURED
    if files:
        with open(files[0], encoding="utf-8") as file:
            text = file.read()
    wrong = compare(read(text))
    if not check:
        paper()
    if wrong:
        sys.exit(f"{wrong} of the measured steps are off by more than {TOLERANCE:.0%}")


main()
