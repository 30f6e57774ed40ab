"""Wrong versions of a backward as people write them, for the operators' pages."""

from dataclasses import dataclass
from inspect import signature
from textwrap import indent

from manual_backprop.judge.examples import EXAMPLES
from manual_backprop.op import Op


@dataclass(frozen=True)
class Wrong:
    """A wrong backward.

    Attributes:
        says: what went wrong, in one sentence.
        source: a function back_<operator> that takes `torch` for granted.
    """

    says: str
    source: str


MOST = 4  # of one operator; the page is to be read, and the catalogue has them all


def wrong_versions(op: Op) -> list[Wrong]:
    """Those written for it, those of the catalogue, or where there is none two that fit any."""
    own = [
        Wrong(says, f"def back_{op.name}({call}):\n{indent(_body(body), '    ')}\n")
        for says, call, body in WRITTEN.get(op.name, ())
    ]
    codes = [one for one in EXAMPLES.values() if one.operator == op.name]
    telling = [code for code in TELLING if code in EXAMPLES and EXAMPLES[code] in codes]
    own += [Wrong(TELLING[code], EXAMPLES[code].wrong) for code in telling]
    return own[:MOST] or _of_any(op)


def _body(text: str) -> str:
    """What is one expression is what it returns."""
    return text if "return " in text else f"return {text}"


def _of_any(op: Op) -> list[Wrong]:
    """The gradient of the sum in place of that of the loss, and descent's sign in the gradient."""
    backward = op.backwards[0]
    call = ", ".join(
        name for name, one in signature(backward).parameters.items() if one.kind != one.KEYWORD_ONLY
    )
    where = f"from {op.forward.__module__} import {backward.__name__} as right\n\n\n"
    alone = call.replace("grad_out", "torch.ones_like(grad_out)")
    return [
        Wrong(
            "It forgets what comes from behind, as if the loss were the sum of the outputs.",
            f"{where}def back_{op.name}({call}):\n    return right({alone})\n",
        )
    ]


TELLING = {  # codes whose example shows what is easy to get wrong in that operator
    "not-reduced": "The bias was lent to every row, and its gradient is not collected.",
    "transposed": "The factors of the product stand the wrong way round.",
    "mean-for-sum": "It averages over the rows where their gradients add up.",
    "overwritten": "The loop sets where it should add: the last row is left.",
    "kink": "`>=` for `>`: at 0 the other slope.",
    "not-linear": "Clipping the gradient inside of a backward hides its size from all before it.",
    "mask": "The mask is turned round.",
    "mutates": "It writes over the gradient that it was given.",
    "missing-factor": "A factor of s (1 - s) is forgotten.",
    "ignores-grad-out": "The slope alone, without what comes from behind.",
    "factor": "The 2 of the square is forgotten.",
    "sum-for-mean": "The forward is a mean, the backward that of a sum.",
    "broadcast-loss": "Without the squeeze a column less a row is a table.",
    "missing-term": "Only the diagonal of the Jacobian: each number moves all probabilities.",
    "wrong-axis": "The sum runs over the rows in place of the classes.",
    "wrong-argument": "The input stands where the output belongs.",
    "nan": "e to a large power overflows, and infinity over infinity is nan.",
    "sign": "The minus of the cosine's slope is lost.",
    "subset": "The last entry is left out.",
    "extra-factor": "The sigmoid's slope is multiplied in, though it has cancelled.",
    "convention": "Targets of -1 and 1 in place of 0 and 1.",
    "missing-branch": "Mean and variance are taken for constants.",
    "wrong-variable": "It stops at the probabilities, before the logits.",
    "swapped": "Two gradients in the wrong order.",
    "stale-weights": "It uses the weights after the step in place of those of the forward.",
    "aliases": "Two gradients share one piece of memory.",
}

# operator -> what went wrong, the backward's parameters, its body or what it returns
WRITTEN: dict[str, tuple[tuple[str, str, str], ...]] = {
    "add_constant": (
        ("The gradient of the constant's sum, not of the input.", "grad_out", "grad_out.sum()"),
        ("Ones: the slope alone.", "grad_out", "torch.ones_like(grad_out)"),
    ),
    "exp": (
        ("The rule for powers, on an exponential.", "x, grad_out", "x * (x - 1).exp() * grad_out"),
        ("The slope alone.", "out, grad_out", "1 * out"),
    ),
    "exp_base": (
        ("The slope of e to the x: ln a is missing.", "out, grad_out, *, a=2.0", "out * grad_out"),
    ),
    "log": (
        ("The logarithm again in place of its slope.", "x, grad_out", "grad_out / x.log()"),
        ("The slope alone.", "x, grad_out", "1 / x"),
    ),
    "log_base": (
        ("The slope of ln: the base is forgotten.", "x, grad_out, *, a=10.0", "grad_out / x"),
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
            "grad_out * torch.nn.functional.one_hot(target, log_p.shape[1]).to(log_p) / len(log_p)",
        ),
        (
            "The mean is forgotten.",
            "log_p, target, grad_out=1.0",
            "-grad_out * torch.nn.functional.one_hot(target, log_p.shape[1]).to(log_p)",
        ),
    ),
    "cross_entropy": (
        (
            "The mean over the batch is forgotten.",
            "logits, target, grad_out=1.0",
            "grad_out * (logits.softmax(1) - torch.nn.functional.one_hot(target, logits.shape[1]))",
        ),
        (
            "The probabilities alone: the right class is not taken off.",
            "logits, target, grad_out=1.0",
            "grad_out * logits.softmax(1) / len(logits)",
        ),
        (
            "Minus and plus exchanged: ascent for descent.",
            "logits, target, grad_out=1.0",
            "grad_out * (torch.nn.functional.one_hot(target, logits.shape[1]) - logits.softmax(1)) "
            "/ len(logits)",
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
    "himmelblau": (
        (
            "The inner slope 2x is forgotten.",
            "x, y, grad_out",
            "(2 * (x**2 + y - 11) + 2 * (x + y**2 - 7)) * grad_out, "
            "(2 * (x**2 + y - 11) + 2 * (x + y**2 - 7)) * grad_out",
        ),
        (
            "The second square is forgotten.",
            "x, y, grad_out",
            "4 * x * (x**2 + y - 11) * grad_out, 2 * (x**2 + y - 11) * grad_out",
        ),
    ),
    "chain": (
        (
            "The path stops at the first line: w2 is missing.",
            "x, b1, w1, w2, grad_out",
            "w1 * grad_out, x * grad_out, grad_out, (x * w1 + b1) * grad_out, grad_out.clone()",
        ),
    ),
    "perceptron": (
        (
            "The sigmoid's slope is forgotten.",
            "x, w, target, grad_out=1.0",
            "o = (x @ w.T).sigmoid()\n"
            "grad_z = grad_out * 2 * (o - target) / o.numel()\n"
            "return grad_z @ w, grad_z.T @ x",
        ),
    ),
    "two_layer": (
        (
            "The mask of relu is forgotten on the way back.",
            "x, w1, b1, w2, b2, target, grad_out=1.0",
            "h = (x @ w1 + b1).clamp_min(0)\n"
            "pred = h @ w2 + b2\n"
            "grad_pred = grad_out * 2 * (pred - target[:, None]) / len(x)\n"
            "grad_h = grad_pred @ w2.T\n"
            "grad_w2, grad_b2 = h.T @ grad_pred, grad_pred.sum(0)\n"
            "return grad_h @ w1.T, x.T @ grad_h, grad_h.sum(0), grad_w2, grad_b2",
        ),
    ),
}
