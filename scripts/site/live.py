"""The place of a live view on an operator's page, with the numbers that it starts from.

What it computes stands in docs/_static/live.js; it starts from the page's worked example.
"""

import json
import re
from functools import cache
from html import escape
from typing import Any

from manual_backprop.op import Op
from scripts.site.cache import ROOT
from scripts.site.worked import Worked, worked

INTRODUCTION = (
    "Type other numbers: they flow forward, and the gradients back. Point at a result, or move to "
    "it by the keyboard, and the sum behind it is written out, and what it is made of is marked."
)


@cache
def operators() -> tuple[str, ...]:
    """Those that live.js has a formula for."""
    text = (ROOT / "docs" / "_static" / "live.js").read_text("utf-8")
    _, _, table = text.partition("const OPERATORS = {")
    return tuple(re.findall(r"^  (\w+): (?:\{|pointwise)", table, re.MULTILINE))


def place(op: Op) -> str:
    """The element that live_view.js fills."""
    start = escape(json.dumps(_start(worked(op))), quote=True)
    sentence = "Without JavaScript there is only the example below."
    return (
        f'<div class="live" data-operator="{op.name}" data-start="{start}">'
        f"<noscript>{sentence}</noscript></div>"
    )


def _start(example: Worked) -> dict[str, Any]:
    below = example.inputs[next(iter(example.inputs))].shape[-1:]
    tensors = {**example.inputs, "grad_out": example.grad_out}
    return {
        name: {
            "shape": list(tensor.shape),
            "values": tensor.reshape(-1).tolist(),
            "below": None if tensor.is_floating_point() else int(below[0]),
        }
        for name, tensor in tensors.items()
    }
