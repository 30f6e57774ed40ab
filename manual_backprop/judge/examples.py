"""The smallest backward with each mistake, and why some codes have none; imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A backward of an operator of this house, once wrong and once right.

    Attributes:
        operator: its name.
        begin: the lines that both have.
        mistake: how it goes on where it is wrong.
        mended: how it goes on where it is right.
    """

    operator: str
    begin: str
    mistake: str
    mended: str

    @property
    def wrong(self) -> str:
        """The source of the wrong backward, which takes `torch` for granted."""
        return f"{self.begin}\n{self.mistake}\n"

    @property
    def right(self) -> str:
        """The source of the right one."""
        return f"{self.begin}\n{self.mended}\n"


def _lin(mistake: str, mended: str = "grad_out @ w.T, x.T @ grad_out, grad_out.sum(0)") -> Example:
    return _returns("lin(x, w, grad_out)", mistake, mended)


def _relu(mistake: str, mended: str = "(x > 0) * grad_out") -> Example:
    return _returns("relu(x, grad_out)", mistake, mended)


def _sigmoid(mistake: str) -> Example:
    return _returns("sigmoid(out, grad_out)", mistake, "grad_out * out * (1 - out)")


def _mse(mistake: str) -> Example:
    begin = "mse(pred, target, grad_out)"
    diff = "diff = pred - target[..., None]"
    return _returns(begin, mistake, "grad_out * 2 * diff / diff.numel()", diff)


def _returns(call: str, mistake: str, mended: str, *before: str) -> Example:
    """Both in one line, behind what both compute before."""
    begin = "\n    ".join((f"def back_{call}:", *before))
    operator = call.partition("(")[0]
    return Example(operator, begin, f"    return {mistake}", f"    return {mended}")


NORMALISED = (
    "sigma = (x.var(0, correction=0) + eps).sqrt()",
    "normal = (x - x.mean(0)) / sigma",
    "grad_gamma, grad_beta = (grad_out * normal).sum(0), grad_out.sum(0)",
)

EXAMPLES = {
    "raises": _lin("grad_out @ w, x.T @ grad_out, grad_out.sum(0)"),
    "arity": _lin("grad_out @ w.T, x.T @ grad_out"),
    "not-a-tensor": Example(
        "relu",
        "def back_relu(x, grad_out):",
        "    (x > 0) * grad_out",
        "    return (x > 0) * grad_out",
    ),
    "shape": _lin("grad_out @ w.T, x.T @ grad_out, grad_out.sum(0, keepdim=True)"),
    "not-reduced": _lin("grad_out @ w.T, x.T @ grad_out, grad_out.clone()"),
    "transposed": _lin("grad_out @ w.T, grad_out.T @ x, grad_out.sum(0)"),
    "dtype": _relu("(x > 0).float() * grad_out.float()"),
    "mutates": _relu("grad_out.mul_(x > 0)"),
    "aliases": Example(
        "computational_graph",
        "def back_computational_graph(b, c, grad_out):\n"
        "    grad_a = 3 * grad_out\n"
        "    grad_b = c * grad_a",
        "    return grad_a, grad_b, torch.mul(b, grad_a, out=grad_b)",
        "    return grad_a, grad_b, torch.mul(b, grad_a)",
    ),
    "stateful": Example(
        "relu",
        "sums = {}\n\n\ndef back_relu(x, grad_out):\n    grad_x = (x > 0) * grad_out",
        "    sums[x.shape] = sums.get(x.shape, 0) + grad_x\n    return sums[x.shape]",
        "    return grad_x",
    ),
    "not-repeatable": _relu("(x > 0) * torch.nn.functional.dropout(grad_out, 0.5)"),
    "layout": _relu("(x > 0) * grad_out.as_strided(x.shape, (1,))"),
    "nan": Example(
        "tanh",
        "def back_tanh(x, grad_out):",
        "    e = (2 * x).exp()\n    return grad_out * 4 * e / (1 + e) ** 2",
        "    e = (-2 * x.abs()).exp()\n    return grad_out * 4 * e / (1 + e) ** 2",
    ),
    "ignores-grad-out": _sigmoid("out * (1 - out)"),
    "not-linear": _relu("(x > 0) * grad_out.clamp(-1, 1)"),
    "zero": Example(
        "relu",
        "def back_relu(x, grad_out):\n    grad_x = torch.zeros_like(x)",
        "    grad_x[x > 0].copy_(grad_out[x > 0])\n    return grad_x",
        "    grad_x[x > 0] = grad_out[x > 0]\n    return grad_x",
    ),
    "sign": _returns("cos(x, grad_out)", "x.sin() * grad_out", "-x.sin() * grad_out"),
    "factor": _mse("grad_out * diff / diff.numel()"),
    "sum-for-mean": _mse("grad_out * 2 * diff"),
    "mean-for-sum": _lin("grad_out @ w.T, x.T @ grad_out, grad_out.mean(0)"),
    "swapped": _returns(
        "linear_regression(x, w, b, target, grad_out)",
        "w * grad_r, grad_r.sum(), grad_r @ x",
        "w * grad_r, grad_r @ x, grad_r.sum()",
        "grad_r = grad_out * 2 * (w * x + b - target) / x.numel()",
    ),
    "flipped": _lin("grad_out @ w.T, x.T @ grad_out, grad_out.sum(0).flip(0)"),
    "missing-factor": _sigmoid("grad_out * (1 - out)"),
    "extra-factor": _returns(
        "bce_with_logits(x, target, grad_out)",
        "grad_out * (s - target) * s * (1 - s) / x.numel()",
        "grad_out * (s - target) / x.numel()",
        "s = x.sigmoid()",
    ),
    "missing-term": _returns(
        "softmax(out, grad_out)",
        "out * grad_out",
        "out * (grad_out - (out * grad_out).sum(-1, keepdim=True))",
    ),
    "extra-term": _lin("grad_out @ w.T, x.T @ grad_out + w, grad_out.sum(0)"),
    "missing-branch": Example(
        "batch_norm",
        "\n    ".join(("def back_batch_norm(x, gamma, grad_out, *, eps=1e-5):", *NORMALISED)),
        "    return gamma / sigma * grad_out, grad_gamma, grad_beta",
        "    scaled = grad_beta + normal * grad_gamma\n"
        "    grad_x = gamma / sigma * (grad_out - scaled / len(x))\n"
        "    return grad_x, grad_gamma, grad_beta",
    ),
    "overwritten": Example(
        "lin",
        "def back_lin(x, w, grad_out):\n"
        "    grad_w = torch.zeros_like(w)\n"
        "    for row, grad in zip(x, grad_out):",
        "        grad_w = torch.outer(row, grad)\n"
        "    return grad_out @ w.T, grad_w, grad_out.sum(0)",
        "        grad_w += torch.outer(row, grad)\n"
        "    return grad_out @ w.T, grad_w, grad_out.sum(0)",
    ),
    "wrong-argument": _returns(
        "tanh(x, out, grad_out)", "(1 - x * x) * grad_out", "(1 - out * out) * grad_out"
    ),
    "wrong-variable": _returns(
        "cross_entropy_soft(logits, target, grad_out)",
        "-scale * target / p, -scale * log_p",
        "scale * (p * total - target), -scale * log_p",
        "log_p, scale = logits.log_softmax(-1), grad_out / len(logits)",
        "p, total = log_p.exp(), target.sum(-1, keepdim=True)",
    ),
    "wrong-axis": _returns(
        "softmax(out, grad_out)",
        "out * (grad_out - (out * grad_out).sum(0, keepdim=True))",
        "out * (grad_out - (out * grad_out).sum(-1, keepdim=True))",
    ),
    "mask": _relu("(x < 0) * grad_out"),
    "subset": Example(
        "cos",
        "def back_cos(x, grad_out):\n    grad_x = torch.zeros_like(x)",
        "    for i in range(len(x) - 1):\n"
        "        grad_x[i] = -x[i].sin() * grad_out[i]\n"
        "    return grad_x",
        "    for i in range(len(x)):\n"
        "        grad_x[i] = -x[i].sin() * grad_out[i]\n"
        "    return grad_x",
    ),
    "broadcast-loss": _returns(
        "mse(pred, target, grad_out)",
        "scale * (pred - target).mean(-1, keepdim=True)",
        "scale * (pred - target[..., None])",
        "scale = grad_out * 2 / target.numel()",
    ),
    "stale-weights": _returns(
        "logistic_regression(x, w, b, target, grad_out)",
        "diff[:, None] * (w - 0.1 * grad_w), grad_out * grad_w, diff.sum()",
        "diff[:, None] * w, grad_out * grad_w, diff.sum()",
        "diff = ((x @ w + b).sigmoid() - target) / len(x)",
        "grad_w, diff = x.T @ diff, grad_out * diff",
    ),
    "convention": _returns(
        "bce_with_logits(x, target, grad_out)",
        "grad_out * (x.sigmoid() - (2 * target - 1)) / x.numel()",
        "grad_out * (x.sigmoid() - target) / x.numel()",
    ),
    "kink": _relu("(x >= 0) * grad_out"),
    "unknown": _sigmoid("grad_out * out * (1 - out) ** 3"),
}

ON_A_MESH = "It takes a mesh of several processes: `manual-backprop verify --mesh 2` says it."
WITHOUT = {  # why a code has no example
    "timeout": "It takes a process of its own: `check` says it when --timeout is over, and "
    "`verify --mesh` of a rank that keeps the others waiting.",
    "crash": "It takes a process of its own: `check` says it of the one that a file runs in, and "
    "`verify --mesh` of a rank.",
    "not-a-dtensor": ON_A_MESH,
    "placement": ON_A_MESH,
    "collective-mismatch": ON_A_MESH,
    "missing-all-reduce": ON_A_MESH,
    "doubled-all-reduce": ON_A_MESH,
    "averaged-all-reduce": ON_A_MESH,
    "local-mean": ON_A_MESH,
    "unwritten": "Only `manual-backprop check` says it, of `raise NotImplementedError`.",
    "device": "It takes a second device, such as a GPU.",
    "unstable": "It is a note and not a finding: in float32 the same backward is right.",
    "forward": "It is said of a forward, and those of this house are right.",
    "witnesses": "It is said of an operator and its oracle, before any backward is called.",
    "not-exercised": "It is a note and not a finding: of what the samples do not reach.",
}
