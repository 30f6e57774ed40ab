"""What people write in place of an operator's backward.

Operator -> for each version what went wrong, the parameters, and the body or what it returns.
"""

Written = dict[str, tuple[tuple[str, str, str], ...]]

OPERATORS: Written = {
    "add_constant": (
        ("The gradient of the constant's sum, not of the input.", "grad_out", "grad_out.sum()"),
        ("Ones: the slope alone.", "grad_out", "torch.ones_like(grad_out)"),
    ),
    "exp": (
        ("The rule for powers, on an exponential.", "x, grad_out", "x * (x - 1).exp() * grad_out"),
        ("The input where the output belongs.", "x, grad_out", "x * grad_out"),
        ("The slope alone.", "out, grad_out", "1 * out"),
    ),
    "exp_base": (
        ("The slope of e to the x: ln a is missing.", "out, grad_out, *, a=2.0", "out * grad_out"),
        (
            "The rule for powers, on an exponential.",
            "x, grad_out, *, a=2.0",
            "x * a ** (x - 1) * grad_out",
        ),
    ),
    "log": (
        ("The logarithm again in place of its slope.", "x, grad_out", "grad_out / x.log()"),
        ("The slope alone.", "x, grad_out", "1 / x"),
    ),
    "log_base": (
        ("The slope of ln: the base is forgotten.", "x, grad_out, *, a=10.0", "grad_out / x"),
        (
            "It multiplies by the base in place of dividing by its logarithm.",
            "x, grad_out, *, a=10.0",
            "a * grad_out / x",
        ),
    ),
    "power": (
        (
            "The exponent is not lowered by one.",
            "x, grad_out, *, a=3.0",
            "a * x.pow(a) * grad_out",
        ),
        ("The factor a is forgotten.", "x, grad_out, *, a=3.0", "x.pow(a - 1) * grad_out"),
    ),
    "sqrt": (
        ("The half is forgotten.", "out, grad_out", "grad_out / out"),
        ("The root where its slope belongs.", "out, grad_out", "out / 2 * grad_out"),
    ),
    "sin": (
        ("The sign of the cosine's slope.", "x, grad_out", "-x.cos() * grad_out"),
        ("Sine for its slope.", "x, grad_out", "x.sin() * grad_out"),
    ),
    "tan": (
        ("1 - y², as of tanh.", "out, grad_out", "(1 - out * out) * grad_out"),
        ("The input where the output belongs.", "x, grad_out", "(1 + x * x) * grad_out"),
    ),
    "tanh": (("The slope of the sigmoid.", "out, grad_out", "out * (1 - out) * grad_out"),),
    "arcsin": (
        ("The root is forgotten.", "x, grad_out", "grad_out / (1 - x * x)"),
        ("Plus for minus, as of arctan.", "x, grad_out", "grad_out / (1 + x * x).sqrt()"),
    ),
    "arccos": (
        ("The minus is forgotten: this is arcsin.", "x, grad_out", "grad_out / (1 - x * x).sqrt()"),
        ("The root is forgotten.", "x, grad_out", "-grad_out / (1 - x * x)"),
    ),
    "arctan": (
        ("Minus for plus, as of arcsin.", "x, grad_out", "grad_out / (1 - x * x)"),
        ("A root too many.", "x, grad_out", "grad_out / (1 + x * x).sqrt()"),
    ),
    "shifted_square": (
        (
            "x² is differentiated, and x put in: the article's 2.",
            "x, grad_out, *, c=1.0",
            "2 * x * grad_out",
        ),
        ("The 2 is forgotten.", "x, grad_out, *, c=1.0", "(x + c) * grad_out"),
    ),
    "norm": (
        (
            "The square's slope: the root is forgotten.",
            "r, out, grad_out",
            "2 * r * grad_out[..., None]",
        ),
        (
            "It divides by the square of the length.",
            "r, out, grad_out",
            "r / (out * out)[..., None] * grad_out[..., None]",
        ),
    ),
    "entropy": (
        ("Nats for bits.", "p, grad_out, *, base=2.0", "-grad_out[..., None] * (p.log() + 1)"),
        (
            "p ln p is a product, and only its first factor is differentiated.",
            "p, grad_out, *, base=2.0",
            "-grad_out[..., None] * p.log() / p.new_tensor(base).log()",
        ),
        (
            "The minus before the sum is lost.",
            "p, grad_out, *, base=2.0",
            "grad_out[..., None] * (p.log() + 1) / p.new_tensor(base).log()",
        ),
    ),
    "log_softmax": (
        (
            "The output where the probability belongs.",
            "out, grad_out",
            "grad_out - out * grad_out.sum(-1, keepdim=True)",
        ),
        (
            "softmax - onehot, which is for a loss, with ȳ for the onehot.",
            "out, grad_out",
            "out.exp() - grad_out",
        ),
    ),
    "nll": (
        (
            "The sign: nll is minus the log-probability.",
            "log_p, target, grad_out=1.0",
            "onehot = torch.nn.functional.one_hot(target, log_p.shape[1])\n"
            "return grad_out * onehot / len(log_p)",
        ),
        (
            "The mean is forgotten.",
            "log_p, target, grad_out=1.0",
            "onehot = torch.nn.functional.one_hot(target, log_p.shape[1])\n"
            "return -grad_out * onehot",
        ),
    ),
    "cross_entropy": (
        (
            "The mean over the batch is forgotten.",
            "logits, target, grad_out=1.0",
            "onehot = torch.nn.functional.one_hot(target, logits.shape[1])\n"
            "return grad_out * (logits.softmax(1) - onehot)",
        ),
        (
            "The probabilities alone: the right class is not taken off.",
            "logits, target, grad_out=1.0",
            "grad_out * logits.softmax(1) / len(logits)",
        ),
        (
            "Minus and plus exchanged: ascent for descent.",
            "logits, target, grad_out=1.0",
            "onehot = torch.nn.functional.one_hot(target, logits.shape[1])\n"
            "return grad_out * (onehot - logits.softmax(1)) / len(logits)",
        ),
    ),
    "bce": (
        (
            "p - t, which is right after a sigmoid only.",
            "p, target, grad_out=1.0",
            "grad_out * (p - target) / p.numel()",
        ),
        (
            "The mean is forgotten.",
            "p, target, grad_out=1.0",
            "grad_out * (p - target) / (p * (1 - p))",
        ),
    ),
    "batch_norm": (
        (
            "The way through the variance is forgotten, and that through the mean is not.",
            "x, gamma, grad_out, *, eps=1e-5",
            "sigma = (x.var(0, correction=0) + eps).sqrt()\n"
            "normal = (x - x.mean(0)) / sigma\n"
            "grad_gamma, grad_beta = (grad_out * normal).sum(0), grad_out.sum(0)\n"
            "grad_x = gamma / sigma * (grad_out - grad_beta / len(x))\n"
            "return grad_x, grad_gamma, grad_beta",
        ),
        (
            "The variance is divided by n - 1, as `.var` does unless it is told otherwise.",
            "x, gamma, grad_out, *, eps=1e-5",
            "sigma = (x.var(0) + eps).sqrt()\n"
            "normal = (x - x.mean(0)) / sigma\n"
            "grad_gamma, grad_beta = (grad_out * normal).sum(0), grad_out.sum(0)\n"
            "both = (grad_beta + normal * grad_gamma) / len(x)\n"
            "return gamma / sigma * (grad_out - both), grad_gamma, grad_beta",
        ),
        (
            "The scale γ stands behind the normalisation, and its slope is forgotten.",
            "x, gamma, grad_out, *, eps=1e-5",
            "sigma = (x.var(0, correction=0) + eps).sqrt()\n"
            "normal = (x - x.mean(0)) / sigma\n"
            "grad_gamma, grad_beta = (grad_out * normal).sum(0), grad_out.sum(0)\n"
            "both = (grad_beta + normal * grad_gamma) / len(x)\n"
            "return (grad_out - both) / sigma, grad_gamma, grad_beta",
        ),
    ),
    "cross_entropy_soft": (
        (
            "softmax - target, which takes for granted that the targets of a row sum to 1.",
            "logits, target, grad_out=1.0",
            "scale = grad_out / len(logits)\n"
            "grad_logits = scale * (logits.softmax(-1) - target)\n"
            "return grad_logits, -scale * logits.log_softmax(-1)",
        ),
        (
            "The mean is taken over all entries, and the forward's is over the rows.",
            "logits, target, grad_out=1.0",
            "scale, log_p = grad_out / logits.numel(), logits.log_softmax(-1)\n"
            "grad_logits = scale * (log_p.exp() * target.sum(-1, keepdim=True) - target)\n"
            "return grad_logits, -scale * log_p",
        ),
    ),
    "himmelblau": (
        (
            "The inner slope 2x is forgotten.",
            "x, y, grad_out",
            "grad_u = 2 * (x**2 + y - 11) * grad_out\n"
            "grad_v = 2 * (x + y**2 - 7) * grad_out\n"
            "return grad_u + grad_v, grad_u + grad_v",
        ),
        (
            "The second square is forgotten.",
            "x, y, grad_out",
            "grad_u = 2 * (x**2 + y - 11) * grad_out\nreturn 2 * x * grad_u, 1 * grad_u",
        ),
    ),
}
