"""Outsiders that are losses."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from manual_backprop.op import Op
from tests.outsiders.bound import decompositions

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}
_SAMPLES = {  # the mean's batch axis is m, never empty: see DEFECTIVE_WHEN_EMPTY
    "mean": lambda rand, m=11, i=7: (rand(m, i), rand(m, i)),
    "sum": lambda rand, n=11, i=7: ((rand(n, i), rand(n, i)), {"reduction": "sum"}),
    "none": lambda rand, n=11, i=7: ((rand(n, i), rand(n, i)), {"reduction": "none"}),
}


def _inside(x: Tensor) -> Tensor:
    """Probabilities off 0 and 1, where the kernel's clamp is at a 1e-12 rounded to float32."""
    return x.sigmoid() * 0.875 + 0.0625


def _nll(decomposition: str, samples: dict[str, Any]) -> Op:
    def forward(
        x: Tensor,
        target: Tensor,
        weight: Tensor,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> Tensor:
        return F.nll_loss(x, target, weight, ignore_index=ignore_index, reduction=reduction)

    def backward(
        x: Tensor,
        target: Tensor,
        weight: Tensor,
        grad_out: Tensor,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> Any:
        kept = target != ignore_index
        total_weight = (weight[target.where(kept, 0)] * kept).sum()
        return getattr(decompositions, decomposition)(
            grad_out, x, target, weight, _REDUCTIONS[reduction], ignore_index, total_weight
        )

    return Op(
        forward=forward, backwards=(backward,), samples=samples, wrt=("x",), oracle=F.nll_loss
    )


LOSSES = {
    "binary_cross_entropy_backward": Op(
        forward=lambda x, target, weight, *, reduction="mean": F.binary_cross_entropy(
            x, target, weight, reduction=reduction
        ),
        backwards=(
            lambda x, target, weight, grad_out, *, reduction="mean": (
                decompositions.binary_cross_entropy_backward(
                    grad_out, x, target, weight, _REDUCTIONS[reduction]
                )
            ),
        ),
        samples={
            "mean": lambda rand, n=11, i=7: (
                _inside(rand(n, i)),
                rand(n, i).sigmoid(),
                rand(n, i),
            ),
            "none": lambda rand, n=11, i=7: (
                (_inside(rand(n, i)), rand(n, i).sigmoid(), rand(n, i)),
                {"reduction": "none"},
            ),
        },
        wrt=("x",),
        oracle=F.binary_cross_entropy,
    ),
    "huber_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean", delta=1.0: F.huber_loss(
            x, target, reduction=reduction, delta=delta
        ),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean", delta=1.0: (
                decompositions.huber_loss_backward(
                    grad_out, x, target, _REDUCTIONS[reduction], delta
                )
            ),
        ),
        samples={
            **_SAMPLES,
            "wide": lambda rand, m=11, i=7: ((rand(m, i), rand(m, i)), {"delta": 2.0}),
        },
        wrt=("x",),
        oracle=F.huber_loss,
    ),
    "mse_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean": F.mse_loss(x, target, reduction=reduction),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean": decompositions.mse_loss_backward(
                grad_out, x, target, _REDUCTIONS[reduction]
            ),
        ),
        samples=_SAMPLES,
        wrt=("x",),
        oracle=F.mse_loss,
    ),
    "nll_loss_backward": _nll(
        "nll_loss_backward",
        {
            "mean": lambda rand, n=11, c=5: (rand(n, c), rand.integers(c, n), rand(c).abs() + 1),
            "one row": lambda rand, c=5: (rand(c), rand.integers(c), rand(c).abs() + 1),
            "none": lambda rand, n=11, c=5: (
                (rand(n, c), rand.integers(c, n), rand(c)),
                {"reduction": "none"},
            ),
        },
    ),
    "nll_loss2d_backward": _nll(
        "nll_loss2d_backward",
        {
            "mean": lambda rand, n=7, c=5, h=3, w=11: (
                rand(n, c, h, w),
                rand.integers(c, n, h, w),
                rand(c).abs() + 1,
            ),
            "none": lambda rand, n=7, c=5, h=3, w=11: (
                (rand(n, c, h, w), rand.integers(c, n, h, w), rand(c)),
                {"reduction": "none"},
            ),
        },
    ),
    "smooth_l1_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean", beta=1.0: F.smooth_l1_loss(
            x, target, reduction=reduction, beta=beta
        ),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean", beta=1.0: (
                decompositions.smooth_l1_loss_backward(
                    grad_out, x, target, _REDUCTIONS[reduction], beta
                )
            ),
        ),
        samples={
            **_SAMPLES,
            "wide": lambda rand, m=11, i=7: ((rand(m, i), rand(m, i)), {"beta": 2.0}),
        },
        wrt=("x",),
        oracle=F.smooth_l1_loss,
    ),
    "soft_margin_loss_backward": Op(
        forward=lambda x, target, *, reduction="mean": F.soft_margin_loss(
            x, target, reduction=reduction
        ),
        backwards=(
            lambda x, target, grad_out, *, reduction="mean": (
                decompositions.soft_margin_loss_backward(
                    grad_out, x, target, _REDUCTIONS[reduction]
                )
            ),
        ),
        samples=_SAMPLES,
        wrt=("x",),
        oracle=F.soft_margin_loss,
    ),
}
