"""What people would use instead of wgloss, by loss: each the usual text, in the type of the logits."""

import os
import random

import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None


class Peer:
    """`loss(logits, targets)`, as it is or compiled; `form` is how it takes targets, `factor` how many times the input's
    bytes it needs beside it."""

    def __init__(self, name, loss, form, compiled=False, factor=10):
        self.name, self.loss, self.form, self.compiled, self.factor = name, loss, form, compiled, factor

    def bytes(self, case):
        size = case.torch_dtype().itemsize
        if case.loss == "contrastive":
            return 10 * case.rows * case.rows * 4
        if case.loss == "mcm":
            return 4 * case.rows * case.cols * case.cols * size
        return self.factor * case.rows * case.cols * size

    def prepare(self, case, device, sets):
        """A call of loss and gradient on the tensors of a set."""
        loss = torch.compile(self.loss, dynamic=False) if self.compiled else self.loss
        data = [inputs(case, device, self.form, seed) for seed in range(sets)]

        def call(i):
            logits, targets = data[i]
            return torch.autograd.grad(loss(logits, *targets), logits)[0]

        return call


# ---- data


def inputs(case, device, form, seed):
    made = torch.Generator(device=device).manual_seed(seed)
    logits = torch.randn(case.rows, case.cols, generator=made, device=device, dtype=torch.float32)
    if case.loss == "contrastive":
        return logits.to(case.torch_dtype()).requires_grad_(), (label_sets(case, device, made),)
    logits = (3 * logits).to(case.torch_dtype()).requires_grad_()
    if case.loss == "mcm":
        ancestors = tree(case.cols)
        below = torch.zeros(case.cols, case.cols)
        for node, above in enumerate(ancestors):
            below[above, node] = 1
        flags = torch.zeros(case.rows, case.cols)
        pick = random.Random(seed)
        for row in flags:
            row[ancestors[pick.randrange(case.cols)]] = 1
        return logits, (flags.to(device, case.torch_dtype()), below.to(device, case.torch_dtype()))
    positives = min(16, max(1, case.cols // 4))
    places = torch.randint(case.cols, (case.rows, positives), generator=made, device=device)
    flags = torch.zeros(case.rows, case.cols, dtype=torch.bool, device=device).scatter_(1, places, True)
    return logits, ({"bool": flags, "byte": flags.to(torch.uint8)}.get(form, flags.to(case.torch_dtype())),)


def label_sets(case, device, made):
    sets = torch.zeros(case.rows, case.labels, dtype=case.torch_dtype(), device=device)
    places = torch.randint(case.labels, (case.rows, 8), generator=made, device=device)
    counts = torch.arange(case.rows, device=device) % 8
    # Those beyond a set's size repeat its first.
    places = torch.where(torch.arange(8, device=device) <= counts[:, None], places, places[:, :1])
    return sets.scatter_(1, places, 1)


def tree(nodes):
    """Of each node itself and its ancestors; some ten each."""
    pick, ancestors = random.Random(1), [[0]]
    for node in range(1, nodes):
        parent = int(pick.uniform(0, max(node / 1.6, 1)))
        ancestors.append([node, *ancestors[parent]])
    return ancestors


# ---- losses: the mean over rows of a row's loss


def zlpr_cat(s, y):
    """As published for Keras: what does not belong is pushed far down."""
    s = (1 - 2 * y) * s
    negatives, positives = s - y * 1e12, s - (1 - y) * 1e12
    zero = torch.zeros_like(s[:, :1])
    negatives = torch.logsumexp(torch.cat([negatives, zero], 1), 1)
    return (negatives + torch.logsumexp(torch.cat([positives, zero], 1), 1)).mean()


def zlpr_where(s, y):
    low = torch.finfo(s.dtype).min
    zero = torch.zeros_like(s[:, :1])
    negatives = torch.logsumexp(torch.cat([torch.where(y, low, s), zero], 1), 1)
    positives = torch.logsumexp(torch.cat([torch.where(y, -s, low), zero], 1), 1)
    return (negatives + positives).mean()


def bce(s, y):
    return F.binary_cross_entropy_with_logits(s, y, reduction="sum") / len(s)


def focal(s, y, gamma=2.0, alpha=0.25):
    p = torch.sigmoid(s)
    missed = 1 - (p * y + (1 - p) * (1 - y))
    weight = (alpha * y + (1 - alpha) * (1 - y)) * missed**gamma
    return (weight * F.binary_cross_entropy_with_logits(s, y, reduction="none")).sum() / len(s)


def asl(s, y, positive=1.0, negative=4.0, margin=0.05):
    p = torch.sigmoid(s)
    q = (1 - p + margin).clamp(max=1)
    loss = y * torch.log(p.clamp(min=1e-8)) + (1 - y) * torch.log(q.clamp(min=1e-8))
    weight = (1 - p * y - q * (1 - y)) ** (positive * y + negative * (1 - y))
    return -(weight * loss).sum() / len(s)


def sim_dis(z, sets, temperature=0.07):
    """All pairs as matrices, as SupContrast has them, with the factors of Similarity-Dissimilarity."""
    z = F.normalize(z, dim=1)
    logits = (z @ z.T).float() / temperature
    same = torch.eye(len(z), dtype=torch.bool, device=z.device)
    common, size = (sets @ sets.T).float(), sets.sum(1).float()
    factors = common / size[:, None] / (1 + size[None, :] - common)
    factors = factors.masked_fill(same, 0)
    log_p = logits - torch.logsumexp(logits.masked_fill(same, torch.finfo(torch.float32).min), 1, keepdim=True)
    count = (factors > 0).sum(1)
    rows = -(factors * log_p).sum(1) / count.clamp(min=1)
    return rows.sum() / (count > 0).sum().clamp(min=1)


def constrained(p, below):
    """The largest of a class's own probability and those below it, by the expanded tensor of C-HMCNN's code."""
    rows, cols = p.shape
    return (below.expand(rows, cols, cols) * p.unsqueeze(1)).max(2).values


def mcm(s, y, below):
    p = torch.sigmoid(s)
    p = (1 - y) * constrained(p, below) + y * constrained(y * p, below)
    return F.binary_cross_entropy(p, y)


# ---- ZLPR in one kernel

if triton is not None:

    @triton.jit
    def zlpr_short(logits, targets, losses, grads, cols, scale, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        lane = tl.arange(0, BLOCK)
        inside = lane < cols
        at = row * cols + lane
        x = tl.load(logits + at, mask=inside, other=0.0).to(tl.float32)
        y = tl.load(targets + at, mask=inside, other=0) != 0
        negative = tl.where(inside & (y == 0), x, -1e30)
        positive = tl.where(inside & y, -x, -1e30)
        top_n = tl.maximum(tl.max(negative, 0), 0.0)
        top_p = tl.maximum(tl.max(positive, 0), 0.0)
        negative, positive = tl.exp(negative - top_n), tl.exp(positive - top_p)
        sum_n = tl.sum(negative, 0) + tl.exp(-top_n)
        sum_p = tl.sum(positive, 0) + tl.exp(-top_p)
        tl.store(losses + row, top_n + tl.log(sum_n) + top_p + tl.log(sum_p))
        grad = scale * (negative / sum_n - positive / sum_p)
        tl.store(grads + at, grad.to(grads.dtype.element_ty), mask=inside)

    @triton.jit
    def zlpr_long(logits, targets, losses, grads, cols, scale, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        lane = tl.arange(0, BLOCK)
        tops_n = tl.zeros([BLOCK], tl.float32)
        tops_p = tl.zeros([BLOCK], tl.float32)
        sums_n = tl.zeros([BLOCK], tl.float32)
        sums_p = tl.zeros([BLOCK], tl.float32)
        for start in range(0, cols, BLOCK):
            inside = start + lane < cols
            at = row * cols + start + lane
            x = tl.load(logits + at, mask=inside, other=0.0).to(tl.float32)
            y = tl.load(targets + at, mask=inside, other=0) != 0
            negative = tl.where(inside & (y == 0), x, -1e30)
            positive = tl.where(inside & y, -x, -1e30)
            new_n, new_p = tl.maximum(tops_n, negative), tl.maximum(tops_p, positive)
            sums_n = sums_n * tl.exp(tops_n - new_n) + tl.exp(negative - new_n)
            sums_p = sums_p * tl.exp(tops_p - new_p) + tl.exp(positive - new_p)
            tops_n, tops_p = new_n, new_p
        top_n, top_p = tl.max(tops_n, 0), tl.max(tops_p, 0)
        sum_n = tl.sum(sums_n * tl.exp(tops_n - top_n), 0) + tl.exp(-top_n)
        sum_p = tl.sum(sums_p * tl.exp(tops_p - top_p), 0) + tl.exp(-top_p)
        tl.store(losses + row, top_n + tl.log(sum_n) + top_p + tl.log(sum_p))
        for start in range(0, cols, BLOCK):
            inside = start + lane < cols
            at = row * cols + start + lane
            x = tl.load(logits + at, mask=inside, other=0.0).to(tl.float32)
            y = tl.load(targets + at, mask=inside, other=0) != 0
            positive = tl.exp(-x - top_p) / sum_p
            grad = scale * tl.where(y, -positive, tl.exp(x - top_n) / sum_n)
            tl.store(grads + at, grad.to(grads.dtype.element_ty), mask=inside)


class Triton(Peer):
    """The gradient is checked against that of `zlpr_where` in f32 first."""

    def __init__(self):
        super().__init__("triton fused", zlpr_where, "byte", factor=4)

    def prepare(self, case, device, sets):
        data = [inputs(case, device, "byte", seed) for seed in range(sets)]
        losses = torch.empty(case.rows, device=device)
        scale = 1 / case.rows
        fits = case.cols <= 16384
        block = triton.next_power_of_2(case.cols) if fits else 8192
        warps = 4 if block <= 2048 else 8 if block <= 8192 else 16

        def call(i):
            logits, (targets,) = data[i]
            grads = torch.empty_like(logits)
            kernel = zlpr_short if fits else zlpr_long
            args = (logits.detach(), targets, losses, grads, case.cols, scale)
            kernel[(case.rows,)](*args, BLOCK=block, num_warps=warps)
            return grads

        logits, (targets,) = data[0]
        logits = logits.detach().float().requires_grad_()
        wanted = torch.autograd.grad(zlpr_where(logits, targets.bool()), logits)[0]
        off = (call(0).float() - wanted).abs().max().item()
        if not off <= 0.02 * wanted.abs().max().item():
            raise RuntimeError(f"its gradient is off by {off}")
        return call


def of(case, device):
    """Those for a case; where the kernel can run, or be interpreted, Triton's too."""

    def both(name, loss, form):
        return [Peer(f"torch eager {name}".strip(), loss, form), Peer(f"torch compile {name}".strip(), loss, form, True)]

    if case.loss == "zlpr":
        # 1e12 is beyond f16, and bf16 has too few digits beside it.
        cat = both("cat", zlpr_cat, "float") if case.dtype == "f32" else []
        runs = triton is not None and (device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")
        return both("where", zlpr_where, "bool") + cat + ([Triton()] if runs else [])
    losses = {"bce": bce, "focal": focal, "asl": asl, "contrastive": sim_dis, "mcm": mcm}
    return both("", losses[case.loss], "float")
