"""Every forward agrees with PyTorch's own: until it does, no gradient can be judged."""

from tests.every import every_sample, judged


@every_sample
def test_forward_agrees_with_the_oracle(op, sample, dtype, device, seed):
    judged(
        op, None, sample, dtype, device, seeds=(seed, seed + 1), parts=["forward"]
    ).raise_if_wrong()
