"""The judge is judged: whatever is spoiled in a right backward, it notices."""

from manual_backprop.judge.verify import verify
from tests.every import every_small_backward
from tests.spoilings import spoilings


def unnoticed(op, backward, sample, dtype, device, seed):
    missed = []
    for spoil in spoilings(op, backward, sample):
        verdict = verify(
            op,
            spoil(backward, op),
            samples=[sample],
            dtypes=[dtype],
            devices=[device],
            seeds=(seed, seed + 1),
            kinks="reject",
            parts=("values", "promises", "made"),
        )
        if verdict.ok:
            missed.append(spoil.__name__)
    return missed


@every_small_backward
def test_every_spoiling_is_noticed(op, backward, sample, dtype, device, seed):
    missed = unnoticed(op, backward, sample, dtype, device, seed)
    assert not missed
