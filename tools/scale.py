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
rows-first 1 0.021370 0.021664
rows-second 1 0.024193 0.025385
linear-first 1 0.051735 0.061569
linear-second 1 0.129205 0.142900
contrastive-first 1 0.000083 0.000091
contrastive-second 1 0.238513 0.245144
contrastive-third 1 0.000092 0.000106
ring-own-first 1 0.054032 0.055699
ring-own-second 1 0.148285 0.160314
ring-block-first 1 0.088231 0.097115
ring-block-second 1 0.226221 0.248199
rows-first 2 0.010795 0.010838
rows-second 2 0.011897 0.011955
linear-first 2 0.025192 0.025401
linear-second 2 0.063519 0.064005
contrastive-first 2 0.000086 0.000095
contrastive-second 2 0.119352 0.131680
contrastive-third 2 0.000090 0.000100
ring-own-first 2 0.014312 0.016483
ring-own-second 2 0.037414 0.043395
ring-block-first 2 0.023166 0.025635
ring-block-second 2 0.058038 0.061170
rows-first 4 0.005592 0.005657
rows-second 4 0.006305 0.006494
linear-first 4 0.013096 0.013238
linear-second 4 0.032520 0.040332
contrastive-first 4 0.000060 0.000064
contrastive-second 4 0.060947 0.061294
contrastive-third 4 0.000056 0.000058
ring-own-first 4 0.003825 0.003942
ring-own-second 4 0.009637 0.009732
ring-block-first 4 0.006161 0.006354
ring-block-second 4 0.014906 0.015253
50-gathers-4 2 0.000062 0.000068
5-gathers-4194304 2 0.088870 0.091063
5-sums-4194304 2 0.024391 0.026826
rows 1 0.049660 0
linear 1 0.192822 0
contrastive 1 0.236820 0
ring 1 0.208044 0
rows 2 0.024954 0
linear 2 0.098620 0
contrastive 2 0.125982 0
ring 2 0.135534 0
rows 4 0.020396 0
linear 4 0.090350 0
contrastive 4 0.127654 0
ring 4 0.176777 0
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
    at = gather(at, 16, link, cores)
    at = pairs(at, own * 4 * dims, link, cores)
    return max(compute(at, [phases["third"]] * ranks, cores))


def step_ring(phases, ranks, samples, dims, words, link, cores, size=4):
    """Keys that go round twice, block by block, each on its way on while a rank computes with it; the second time their gradient
    goes straight to its rank."""
    own = samples / ranks
    message = lambda block: link.latency + link.slower(ranks, cores) * block / link.rate
    there, back = own * (size * dims + 4 * words), own * 4 * dims
    at, came = compute([0.0] * ranks, [phases["own-first"]] * ranks, cores), [0.0] * ranks

    def meet(work):
        nonlocal at, came
        came = [max(came[r], came[r - 1]) + message(there) for r in range(ranks)]
        at = compute([max(at[r], came[r]) for r in range(ranks)], [phases[work]] * ranks, cores)

    for _ in range(1, ranks):
        meet("block-first")
    at = compute(at, [phases["own-second"]] * ranks, cores)
    for step in range(1, ranks):
        meet("block-second")
        at = [max(at[r], at[(r + step) % ranks]) + message(back) for r in range(ranks)]
    return max(gather(at, 16, link, cores))


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
    names = ("first", "second", "third", "own-first", "own-second", "block-first", "block-second")
    return {name: found[f"{scheme}-{name}", ranks] for name in names if (f"{scheme}-{name}", ranks) in found}


def compare(found):
    link, wrong = measured_link(found), 0
    print(f"link: {link.latency * 1e6:.1f} µs a message, {link.rate / 1e9:.2f} GB/s\n")
    print("| scheme | ranks | measured | simulated | difference |\n| --- | --- | --- | --- | --- |")
    for scheme in ("rows", "linear", "contrastive", "ring"):
        for ranks in (1, 2, 4):
            phases = phases_of(found, scheme, ranks)
            if scheme == "rows":
                took = step_rows(phases, ranks, ROWS[0], link, CORES)
            elif scheme == "linear":
                took = step_linear(phases, ranks, LINEAR[0], LINEAR[2], link, CORES)
            elif scheme == "contrastive":
                took = step_contrastive(phases, ranks, *CONTRASTIVE, link, CORES)
            else:
                took = step_ring(phases, ranks, *CONTRASTIVE, link, CORES)
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


def ring_phases(ranks, samples, dims):
    """The products with a block of keys, then once more, and the gradients to both sides."""
    product = 2 * (samples / ranks) ** 2 * dims / PRODUCTS
    return {"own-first": product, "block-first": product, "own-second": 3 * product, "block-second": 3 * product}


def bytes_ring(ranks, samples, dims, words, size=4):
    return 2 * bytes_keys(ranks, samples, dims, words, size) + bytes_gradients(ranks, samples, dims)


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
    head = ("contrastive, f32", "ranks", "computed", "keys on a rank", "sent", *LINKS)
    head += ("on a ring: keys and sums", "sent", *LINKS)
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for samples, dims, name in INFCL:
        for ranks in RANKS:
            phases = contrastive_phases(ranks, samples, dims)
            steps = [step_contrastive(phases, ranks, samples, dims, 1, link, None) for link in LINKS.values()]
            row = [name, str(ranks), seconds(sum(phases.values()))]
            row += [size(2 * 4 * samples * dims), size(bytes_contrastive(ranks, samples, dims, 1)), *map(seconds, steps)]
            phases = ring_phases(ranks, samples, dims)
            steps = [step_ring(phases, ranks, samples, dims, 1, link, None) for link in LINKS.values()]
            # Its own keys and one block, with a gradient each, and eight words for each sample of the batch.
            held = 4 * 4 * samples / ranks * dims + 32 * samples
            row += [size(held), size(bytes_ring(ranks, samples, dims, 1)), *map(seconds, steps)]
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
