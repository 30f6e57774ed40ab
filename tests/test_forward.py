"""Every forward agrees with PyTorch's own: until it does, no gradient can be judged."""

from manual_backprop.judge.verify import verify
from tests.every import every_sample


@every_sample
def test_forward_agrees_with_the_oracle(op, sample, dtype, device, seed):
    verify(
        op,
        samples=[sample],
        dtypes=[dtype],
        devices=[device],
        seeds=(seed, seed + 1),
        parts=["forward"],
    ).raise_if_wrong()
