"""Every backward keeps what any backward promises: linear, repeatable, without side effects."""

import torch

from manual_backprop.judge.verify import verify
from tests.every import every_small_backward, judged


@every_small_backward
def test_keeps_its_promises(op, backward, sample, dtype, device, seed):
    verdict = judged(
        op, backward, sample, dtype, device, seeds=(seed, seed + 1), parts=["promises"]
    )
    verdict.raise_if_wrong()
    assert not verdict.notes


def test_needs_is_tried_in_every_subset():
    from manual_backprop.ops.lin import OP, back_lin

    def back_lin_lazy(x, w, grad_out, needs=(True, True, True)):
        if needs == (False, True, False):
            needs = (False, True, True)
        return back_lin(x, w, grad_out, needs)

    def back_lin_busy(x, w, grad_out, needs=(True, True, True)):
        full = back_lin(x, w, grad_out, (True, True, True))
        return tuple(grad if need else None for grad, need in zip(full, needs, strict=True))

    def back_lin_other(x, w, grad_out, needs=(True, True, True)):
        if needs[2] and not needs[1]:
            return *back_lin(x, w, grad_out, needs)[:2], 2 * back_lin(x, w, grad_out)[2]
        return back_lin(x, w, grad_out, needs)

    for wrong in (back_lin_lazy, back_lin_busy, back_lin_other):
        assert not verify(OP, wrong, dtypes=[torch.float64], parts=["promises"]).ok


def test_a_backward_that_needs_numbers_to_know_shapes_gets_a_note():
    from manual_backprop.ops.relu import OP

    def back_relu_branching(x, grad_out):
        return (x > 0) * grad_out if bool((x > 0).any()) else 0 * grad_out

    chosen = {"dtypes": torch.float64, "seeds": (0,), "samples": ["rows"]}
    verdict = verify(OP, back_relu_branching, parts=["meta"], **chosen)
    assert verdict.ok
    assert "device" in {note.code for note in verdict.notes}
    assert not verify(OP, parts=["meta"], **chosen).notes
