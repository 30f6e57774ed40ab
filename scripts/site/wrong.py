"""Wrong versions of a backward as people write them, for the operators' pages."""

from dataclasses import dataclass
from inspect import signature
from textwrap import indent

from manual_backprop.judge.examples import EXAMPLES
from manual_backprop.op import Op
from scripts.site.wrong_networks import NETWORKS
from scripts.site.wrong_operators import OPERATORS


@dataclass(frozen=True)
class Wrong:
    """A wrong backward.

    Attributes:
        says: what went wrong, in one sentence.
        source: a function back_<operator> that takes `torch` for granted.
    """

    says: str
    source: str


LEAST, MOST = 2, 4  # of one operator; the page is to be read, and the catalogue has them all


def wrong_versions(op: Op) -> list[Wrong]:
    """Those written for it, those of the catalogue, and where these are few what fits any."""
    own = [
        Wrong(says, f"def back_{op.name}({call}):\n{indent(_body(body), '    ')}\n")
        for says, call, body in WRITTEN.get(op.name, ())
    ]
    codes = [one for one in EXAMPLES.values() if one.operator == op.name]
    telling = [code for code in TELLING if code in EXAMPLES and EXAMPLES[code] in codes]
    own += [Wrong(TELLING[code], EXAMPLES[code].wrong) for code in telling]
    return own[:MOST] if len(own) >= LEAST else [*own, *_of_any(op)][:LEAST]


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
    return [
        Wrong(says, f"{where}def back_{op.name}({call}):\n    return right({given})\n")
        for says, given in (
            (
                "It forgets what comes from behind, as if the loss were the sum of the outputs.",
                call.replace("grad_out", "torch.ones_like(grad_out)"),
            ),
            (
                "The minus of the descent: it belongs to the update, not to the gradient.",
                call.replace("grad_out", "-grad_out"),
            ),
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

WRITTEN = OPERATORS | NETWORKS
