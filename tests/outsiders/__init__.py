"""Right backwards that nobody here wrote: PyTorch's decompositions, each bound to our names.

An adapter looks its function up in the module when it is called, so that a mutant can stand in.
"""

from dataclasses import replace

from manual_backprop.op import Op
from tests.outsiders.bound import decompositions
from tests.outsiders.losses import LOSSES
from tests.outsiders.norms import NORMS
from tests.outsiders.places import PLACES
from tests.outsiders.pointwise import POINTWISE

OUTSIDERS = dict(sorted({**POINTWISE, **LOSSES, **NORMS, **PLACES}.items()))

# Every other backward that PyTorch's module of decompositions has, and why it is not judged.
_COPIES = "runs the function of the same name without _out and copies the result"
EXCLUDED = {
    "_broadcast_batch_norm_backward": "gives a tensor more axes, and is judged in batch norm",
    "_nll_loss_backward": "is judged in nll_loss_backward and nll_loss2d_backward",
    "batch_norm_backward": "calls native_batch_norm_backward, which is judged",
    "cudnn_batch_norm_backward": "calls a kernel and has no formula of its own",
    "huber_loss_backward_out": _COPIES,
    "miopen_batch_norm_backward": "calls a kernel and has no formula of its own",
    "native_batch_norm_backward_out": _COPIES,
    "native_group_norm_backward_out": _COPIES,
    "native_layer_norm_backward_out": _COPIES,
    "smooth_l1_loss_backward_out": _COPIES,
}

# The formulas that these share: a mutant of it is judged through each that calls it.
HELPERS = {
    "nll_loss_backward": "_nll_loss_backward",
    "nll_loss2d_backward": "_nll_loss_backward",
}
# These divide 1 by the number of entries in Python, which raises ZeroDivisionError for an empty
# batch, where PyTorch's own gradient is empty. The judge is right to accuse them there.
DEFECTIVE_WHEN_EMPTY = (
    "huber_loss_backward",
    "mse_loss_backward",
    "native_batch_norm_backward",
    "smooth_l1_loss_backward",
)

if not hasattr(decompositions, "max_pool2d_with_indices_backward"):  # torch 2.11 has none
    del OUTSIDERS["max_pool2d_with_indices_backward"]

for _name, _op in OUTSIDERS.items():
    _op.forward.__name__ = _name.removesuffix("_backward")
    _op.backwards[0].__name__ = _name


def with_an_empty_batch(name: str) -> Op:
    """The outsider with its batch axis called n, so that the judge makes it empty too."""
    op = OUTSIDERS[name]
    sample = op.samples["mean" if "mean" in op.samples else "evaluation"]
    return replace(op, samples={"rows": lambda rand, n=11: sample(rand, n)})
