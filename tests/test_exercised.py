"""What the judge says of lines and masks of a backward that no call has tried."""

from functools import partial, wraps
from types import FunctionType

import pytest
import torch

from manual_backprop.judge.exercised import watched
from manual_backprop.judge.verify import verify
from tests.squares import op
from tests.untried import BATCHED, GRID, ROWS, back_by_axes, judged, number
from tests.untried import no_other_trace_function as no_other_trace_function


def test_lines_that_no_sample_reaches_are_named_and_a_sample_that_does_silences_them():
    (said,) = judged(back_by_axes)
    first = number(back_by_axes, "twice = x + x")
    assert f"untried.py:{first}-{first + 1} never ran" in said
    assert "`twice = x + x`" in said
    assert "`if x.dim() == 3:`" in said
    assert judged(back_by_axes, ROWS | BATCHED) == []
    (said,) = judged(back_by_axes, BATCHED)
    assert f":{number(back_by_axes, 'return 2 * x')} never ran" in said


def test_each_block_is_a_note_of_its_own():
    def back_by_kind(x, grad_out):
        if x.dim() == 5:
            grad = x - x
        elif x.dim() == 2:
            grad = 2 * x
        else:
            grad = x + x
        return grad * grad_out

    one, two = judged(back_by_kind)
    assert f":{number(back_by_kind, 'grad = x - x')} never ran" in one
    assert f":{number(back_by_kind, 'grad = x + x')} never ran" in two
    assert "the else of `elif x.dim() == 2:`" in two


def back_with_true_mask(x, grad_out):
    return torch.where(x < 1e5, 2 * x * grad_out, grad_out * (x + x))


def back_with_false_mask(x, grad_out):
    return (2 * x * grad_out).masked_fill(x.gt(1e5) & (x != x.floor()), 0.0)


@pytest.mark.parametrize(
    ("backward", "mask", "side"),
    [(back_with_true_mask, "x < 1e5", "True"), (back_with_false_mask, "x.gt(1e5)", "False")],
    ids=["true", "false"],
)
def test_a_mask_with_one_side_is_named_until_a_sample_reaches_the_other(backward, mask, side):
    (said,) = judged(backward)
    assert f"`{mask}` (test_exercised.py:{number(backward, mask)}) was {side}" in said
    samples = {"some": lambda rand, n=11: ((rand(n) * 1e6).round(),)}
    assert judged(backward, ROWS | samples) == []


def test_masks_that_have_both_sides_and_comparisons_of_numbers_are_no_note():
    def back_square_by_sign(x, grad_out):
        small = 1 if x.dim() < 9 else 2
        return torch.where(x > 0, x, x * small) * 2 * grad_out

    assert judged(back_square_by_sign) == []


def test_what_only_a_wrong_argument_leads_to_is_no_note():
    def back_guarded(x, grad_out):
        """Lines."""
        if x.shape != grad_out.shape:
            raise ValueError(
                "of one shape, please"
            )  # fmt: skip
        if x.dim() > 8:
            message = f"{x.dim()} axes"
            raise ValueError(message)
        if x.is_complex():
            if grad_out.is_complex():
                raise TypeError
            raise TypeError("real numbers, please")
        if x.device.type != "meta" and (x.isnan().any() or bool((x > 1e300).any())):
            raise ValueError
        assert x.device.type == "meta" or bool((x < 1e300).all()), (
            "not so large, "
            f"please: {x}"
        )  # fmt: skip
        try:
            pass
        except ValueError as error:
            raise TypeError from error
        finite = torch.where(x.isfinite(), x, 0.0)
        finite = torch.where(torch.isnan(x) | (x != x), 0.0, finite)
        match x.dim():
            case 99:
                raise ValueError
            case _:
                ...
        return 2 * finite * grad_out

    assert judged(back_guarded) == []


def test_a_raise_at_the_end_of_a_function_excuses_no_other_line():
    def back_by_dim(x, grad_out):
        if x.dim() < 5:
            return 2 * x * grad_out
        x = x + 0
        if x.dim() == 6:
            return x * grad_out
        raise ValueError(x)

    (said,) = judged(back_by_dim)
    assert f":{number(back_by_dim, 'x = x + 0')}-{number(back_by_dim, 'return x * ')} " in said


def _double(x):
    if x.dim() == 3:
        return x + x
    return 2 * x


def _never(x):
    return (
        x
        + 1
    )  # fmt: skip


def loudly(function):
    @wraps(function)
    def call(*args, **kwargs):
        assert args or kwargs
        return function(*args, **kwargs)

    return call


@loudly
def back_decorated(x, grad_out):
    def inner(y):
        if y.dim() == 3:
            return y + y
        return 2 * y

    return inner(x) * grad_out


def back_by_helper(x, grad_out):
    if x.dim() == 9:
        return _never(x)
    return _double(x) * grad_out


def back_chooses(x, grad_out):
    return (_never if x.dim() == 9 else _double)(x) * grad_out


def test_decorated_and_nested_functions_are_looked_into():
    (said,) = judged(back_decorated)
    assert f":{number(back_decorated, 'return y + y')} never ran" in said
    assert judged(back_decorated, ROWS | BATCHED) == []


def test_functions_of_the_same_file_are_looked_into_where_they_are_called():
    said = judged(back_by_helper)
    assert len(said) == 2
    assert f":{number(back_by_helper, 'return _never(x)')} never ran" in said[0]
    assert f":{number(_double, 'return x + x')} never ran" in said[1]
    said = judged(back_chooses, ROWS | BATCHED)
    first = number(_never, "return (")
    assert len(said) == 1
    assert f":{first}-{first + 2} never ran: no sample reaches `return ( x + 1 )`" in said[0]


def test_a_function_that_runs_as_other_code_has_no_lines_to_tell_of():
    """As one that is compiled has."""
    compiled = FunctionType(back_by_axes.__code__.replace(co_name="compiled"), globals())
    assert judged(wraps(back_by_axes)(compiled)) == []


class Called:
    def __call__(self, x):
        return _double(x)


@pytest.mark.parametrize("made", [partial(_double), Called(), loudly(_double), Called().__call__])
def test_whatever_can_be_called_is_looked_into(made):
    def back_made(x, grad_out):
        return made(x) * grad_out

    (said,) = judged(back_made)
    assert "`return x + x`" in said


def test_a_lambda_and_a_function_of_c_have_no_lines():
    back_lambda = lambda x, grad_out: 2 * x * grad_out  # noqa: E731
    assert judged(back_lambda) == []
    with watched({"add": torch.add, "len": len, "partial": partial(torch.add, 1)}) as seen:
        torch.add(torch.ones(1), 1)
    assert list(seen.notes()) == []


def test_nothing_is_said_where_less_is_asked_for_or_something_is_wrong():
    assert judged(back_by_axes, ROWS | BATCHED, samples=["rows"]) == []
    assert judged(back_by_axes, parts=["values"]) == []
    assert judged(back_by_axes, sizes={"n": 3}) == []

    def back_wrong(x, grad_out):
        if x.dim() == 3:
            return x
        return 3 * x * grad_out

    def back_raises(x, grad_out):
        if x.dim() == 3:
            return x
        return missing * x * grad_out  # noqa: F821

    for backward in (back_wrong, back_raises):
        verdict = verify(op(), backward, **GRID)
        assert not verdict.ok
        assert all(note.code != "not-exercised" for note in verdict.notes)


def test_one_wrong_backward_does_not_hide_what_the_other_was_not_tried_on():
    def back_wrong(x, grad_out):
        return 3 * x * grad_out

    verdict = verify(op(backwards=(back_wrong, back_by_axes)), **GRID)
    assert not verdict.ok
    (note,) = [note for note in verdict.notes if note.code == "not-exercised"]
    assert note.backward == "back_by_axes"
