"""Tensors share memory where they have a byte in common, and nowhere else."""

import pytest
import torch

from manual_backprop.judge.memory import overlap
from manual_backprop.judge.verify import verify
from manual_backprop.op import Op


def parts():
    base = torch.zeros(4, 6)
    return {
        "interleaved columns": (base[:, :3], base[:, 3:], False),
        "a column in common": (base[:, :4], base[:, 3:], True),
        "every other": (base.view(-1)[::2], base.view(-1)[1::2], False),
        "every third and every other": (base.view(-1)[::3], base.view(-1)[::2], True),
        "expanded": (base[:, :1].expand(4, 3), base[:, 1:], False),
        "expanded over what it is of": (base[:, :1].expand(4, 3), base, True),
        "one behind the other": (base[:2], base[2:], False),
        "of another size": (base.view(torch.int16)[:, 1::2], base.view(torch.int16)[:, ::2], False),
        "bits of another type": (base.view(torch.int16)[:, 1::2], base[:, ::2], True),
        "windows": (base.view(-1).as_strided((3, 4), (2, 1)), base.view(-1)[7:], True),
        "empty": (base[:0], base, False),
        "through numpy": (torch.from_numpy(base.numpy()[1:]), base[:, 2:], True),
        "their own": (base, base.clone(), False),
    }


@pytest.mark.parametrize("name", parts())
def test_bytes_in_common(name):
    a, b, shared = parts()[name]
    assert overlap(a, b) is overlap(b, a) is shared


def heads(q, k):
    return 2 * q + 3 * k


def back_heads_fused(grad_out):
    return torch.cat([2 * grad_out, 3 * grad_out], -1).chunk(2, -1)


def back_heads_overlapping(grad_out):
    wide = torch.cat([2 * grad_out, 3 * grad_out], -1)
    grad_q, grad_k = wide.chunk(2, -1)
    if grad_out.shape[-1] > 1:
        grad_k = wide.as_strided(grad_k.shape, wide.stride(), grad_out.shape[-1] - 1)
    return grad_q, grad_k


def test_gradients_side_by_side_in_one_storage_do_not_share_memory():
    sample = {"rows": lambda rand, n=11, i=7: (rand(n, i), rand(n, i))}
    op = Op(heads, (back_heads_fused,), sample, ("q", "k"), None)
    assert verify(op).ok, str(verify(op))
    (finding,) = verify(op, back_heads_overlapping, dtypes=[torch.float64]).findings
    assert (finding.gradient, finding.code) == ("grad_k", "aliases")
