"""Untried lines and masks: beside other tracers, through every door, and in the house."""

import inspect
import json
import linecache
import sys

import torch

from manual_backprop.check.command import record
from manual_backprop.judge.exercised import traced, watched
from manual_backprop.judge.function import verify_function
from manual_backprop.judge.verify import verify
from tests.every import every_op
from tests.squares import back_square, op
from tests.untried import BATCHED, GRID, ROWS, back_by_axes, judged, number, untried
from tests.untried import no_other_trace_function as no_other_trace_function


def test_another_trace_function_keeps_its_place_and_sees_its_lines():
    seen = set()

    def other(frame, event, arg):
        if frame.f_code is back_by_axes.__code__:
            seen.add(frame.f_lineno)
            return other
        return None

    sys.settrace(other)
    try:
        said = judged(back_by_axes)
        assert sys.gettrace() is other
    finally:
        sys.settrace(None)
    assert number(back_by_axes, "return 2 * x") in seen
    assert said == []  # of what it has not seen itself it says nothing


def test_a_debugger_that_a_backward_starts_goes_on():
    def other(frame, event, arg):
        return None

    def back_breaks(x, grad_out):
        if x.dim() == 3:
            return x
        sys.settrace(other)
        return 2 * x * grad_out

    try:
        assert judged(back_breaks) == []
        assert sys.gettrace() is other
    finally:
        sys.settrace(None)


SOURCE = """
def back_written(x, grad_out):
    if x.dim() == 3:
        return x
    return 2 * x * grad_out * (x < 1e5)
"""


def test_without_source_or_with_another_one_nothing_breaks(tmp_path):
    file = tmp_path / "written.py"
    for text in (SOURCE, "", "\n\ndef back_written(", "\n" + SOURCE, None):
        scope = {"__name__": "written"}
        exec(compile(SOURCE, str(file), "exec"), scope)
        file.unlink() if text is None else file.write_text(text)
        linecache.checkcache(str(file))
        assert len(judged(scope["back_written"])) == (2 if text == SOURCE else 0)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x * x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        if output.dim() == 9:
            ctx.many = True

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_out):
        (x,) = ctx.saved_tensors
        if x.dim() == 3:
            return 3 * x * x * grad_out
        return grad_out * x.square() * 3 * (x < 1e5)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        ctx.set_materialize_grads(False)
        return a * b

    @staticmethod
    def vjp(ctx, grad_out):
        grad_b = None
        a, b = ctx.saved_tensors
        if grad_out is None:
            return None, None
        grad_a = grad_out * b if ctx.needs_input_grad[0] else None
        if ctx.needs_input_grad[1]:
            grad_b = grad_out * a
        return grad_a, grad_b


def test_the_backward_of_a_function_of_autograd_is_looked_into():
    verdict = verify_function(Cube, lambda x: x**3, samples=ROWS, dtypes=torch.float64)
    lines, mask = untried(verdict)
    assert f":{number(Cube, 'return 3 * x * x')} never ran" in lines
    assert "`x < 1e5`" in mask
    assert {note.backward for note in verdict.notes} == {"Cube.backward"}
    tried = verify_function(Cube.apply, lambda x: x**3, samples=BATCHED | ROWS, **GRID)
    assert untried(tried) == [mask]


def test_what_only_the_engine_and_subsets_ask_for_counts_as_tried():
    samples = {"two": lambda rand, n=11: (rand(n), rand(n))}
    assert untried(verify_function(Product, torch.mul, samples=samples, **GRID)) == []


def test_the_backward_of_an_operator_of_torch_library_is_looked_into():
    @torch.library.custom_op("untried::cube", mutates_args=())
    def cube(x: torch.Tensor) -> torch.Tensor:
        if x.dim() == 9:
            return x.clone()
        return x * x * x

    def backward(ctx, grad_out):
        if ctx.x.dim() == 3:
            return ctx.x * grad_out
        return 3 * ctx.x * ctx.x * grad_out

    def setup_context(ctx, inputs, output):
        (ctx.x,) = inputs

    cube.register_autograd(backward, setup_context=setup_context)
    with watched({"backward": backward}) as seen:
        verify_function(cube, lambda x: x**3, samples=ROWS, **GRID)
    (note,) = seen.notes()
    assert f":{number(backward, 'return ctx.x * grad_out')} never ran" in note.message


def test_the_forward_and_functions_without_a_backward_of_their_own_are_not_looked_into():
    def plain(x):
        if x.dim() == 9:
            return x
        return x * x * (x < 1e300)

    assert untried(verify_function(plain, torch.square, samples=ROWS, **GRID)) == []


def test_check_tells_it_and_so_does_its_json(learner):
    text = "import torch\n\n\n" + inspect.getsource(back_by_axes).replace(
        "2 * x", "(x > 0)"
    ).replace("back_by_axes", "back_relu").replace("x.dim() == 3", "x.dim() == 9")
    answer = learner.check(text)
    (found,) = answer["functions"]
    assert found["ok"]
    (note,) = [note for note in found["notes"] if note["code"] == "not-exercised"]
    assert "mine.py:6-7 never ran" in note["message"]
    assert json.loads(json.dumps(record(answer, learner.folder / "mine.py")))
    page = " ".join(" ".join(learner.page(answer)).split())
    assert "note mine.py:6-7 never ran" in page


def test_check_is_content_where_other_samples_of_the_operator_reach_the_line(learner):
    text = "import torch\n\n\n" + inspect.getsource(back_by_axes).replace(
        "back_by_axes", "back_relu"
    ).replace("twice * grad_out", "(twice > 0) * grad_out").replace("2 * x", "(x > 0)")
    found = learner.only(text)
    assert found["ok"]
    assert found["notes"] == []


CONSTANT = torch.linspace(-2, 2, 5, dtype=torch.float64)


@every_op
def test_every_line_and_every_mask_of_the_house_is_tried(op):
    with watched({backward.__name__: backward for backward in op.backwards}) as seen:
        verify(op, parts=("values", "promises", "made"), layouts=["contiguous"], **GRID)
        if op.name in ("mse", "softmax"):  # another way where numbers do not lie in a row
            verify(op, parts=["values"], layouts=["transposed"], **GRID)
        if op.name == "norm":  # of rows without an entry there is no gradient to judge in a sample
            verify(op, sizes={"k": 0}, parts=["values"], **GRID)
        if op.name == "power":  # x⁰ has no gradient but 0, and no sample may have that
            for backward in op.backwards:
                with traced():
                    grad = backward(CONSTANT, torch.ones_like(CONSTANT), a=0.0)
                assert torch.equal(grad, torch.zeros_like(CONSTANT))
    assert all(lines.node is not None for lines in seen.functions.values())
    assert seen.overheard
    assert [str(note) for note in seen.notes()] == []


def test_backwards_that_are_watched_from_outside_are_told_of_there():
    both = {"back_square": back_square, "back_by_axes": back_by_axes}
    with watched(both) as seen:
        assert untried(verify(op(backwards=tuple(both.values())), **GRID)) == []
    (note,) = seen.notes()
    assert note.backward == "back_by_axes"
