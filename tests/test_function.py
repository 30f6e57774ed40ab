"""The judge's door for autograd's functions: what is right passes, what is wrong is named."""

import pytest
import torch
import torch.nn.functional as F

from manual_backprop import verify_function
from tests import functions as f

FLOAT64 = {"dtypes": torch.float64, "seeds": (0,)}


def codes(verdict):
    return {finding.code for finding in verdict.findings}


@pytest.mark.parametrize(
    ("function", "reference", "sample", "more"),
    [
        (f.Square, torch.square, f.rows, {}),
        (f.Square.apply, torch.square, f.rows, {}),
        (f.SquareByVjp, torch.square, f.rows, {}),
        (f.SquareInFloat32, torch.square, f.rows, {"dtypes": (torch.float32,)}),
        (f.ReluInPlace, torch.relu, f.rows, {}),
        (torch.relu_, torch.relu, f.rows, {}),
        (f.Largest, lambda x: tuple(x.max(-1)), f.rows, {}),
        (f.ProductAndSine, f.product_and_sine, f.pair, {}),
        (f.ProductAndSineOfNone, f.product_and_sine, f.pair, {}),
        (f.Affine, f.scaled_affine, f.affine, {}),
        (
            f.SparseEmbedding,
            lambda w, index: F.embedding(index, w),
            lambda rand, n=11, v=7, d=5: (rand(v, d), rand.integers(v, n)),
            {},
        ),
        (
            lambda x, pair, *, shift=1.0: x * pair[0] + shift * pair[1],
            lambda x, pair, *, shift=1.0: torch.addcmul(shift * pair[1], x, pair[0]),
            lambda rand, n=11: ((rand(n), [rand(n), rand(n)]), {"shift": 0.25}),
            {},
        ),
        (
            lambda x, mask: x * mask / 0.5,
            lambda x, mask: 2 * x.masked_fill(mask == 0, 0.0),
            lambda rand, n=11: (rand(n), rand.integers(2, n)),
            {},
        ),
    ],
    ids=["Function", "apply", "vjp", "float32 only", "in place", "relu_", "index", "zeros", "None",
         "constant", "sparse", "options", "mask"],
)  # fmt: skip
def test_what_is_right_passes(function, reference, sample, more):
    options = {"dtypes": (torch.float64, torch.bfloat16), "seeds": (0,), **more}
    verdict = verify_function(function, reference, samples=sample, **options)

    assert verdict.ok, verdict
    assert sum(tally.cases for tally in verdict.tallies.values()) > 10


def zero_written(ctx, grad_out):
    return grad_out.mul_(ctx.saved_tensors[0]).mul_(2).clone()


WRONG = [
    ("sign", f.back(f.Square, lambda ctx, g: -f.twice(ctx, g)), f.rows, "sign"),
    ("factor", f.back(f.Square, lambda ctx, g: f.twice(ctx, g) / 2), f.rows, "factor"),
    ("|g|", f.back(f.Square, lambda ctx, g: f.twice(ctx, g.abs())), f.rows, "not-linear"),
    ("float32", f.back(f.Square, lambda ctx, g: f.twice(ctx, g).float()), f.rows, "dtype"),
    ("grad_out written", f.back(f.Square, zero_written), f.rows, "mutates"),
    (
        "contiguous",
        f.back(f.Square, lambda ctx, g: f.twice(ctx, g.as_strided(g.shape, (g.shape[-1], 1)))),
        f.rows,
        "layout",
    ),
    (
        "kept x",
        f.back(f.Square, lambda ctx, g: 2 * ctx.x * g, forward=f.keep_x),
        f.rows,
        "stale-weights",
    ),
    (
        "slope written",
        f.back(f.Square, lambda ctx, g: ctx.slope.mul_(g).clone(), forward=f.keep_slope),
        f.rows,
        "stateful",
    ),
    (
        "slope freed",
        f.back(f.Square, lambda ctx, g: g * ctx.__dict__.pop("slope"), forward=f.keep_slope),
        f.rows,
        "stateful",
    ),
    (
        "saved written",
        f.back(f.Square, lambda ctx, g: ctx.saved_tensors[0].mul_(g), forward=f.save_slope),
        f.rows,
        "mutates",
    ),
    ("two for one", f.back(f.Square, lambda ctx, g: (f.twice(ctx, g), g)), f.rows, "arity"),
    ("None", f.back(f.Square, lambda ctx, g: None), f.rows, "not-a-tensor"),
    ("raises", f.back(f.Square, lambda ctx, g: g @ g), f.rows, "raises"),
]


@pytest.mark.parametrize(
    ("wrong", "sample", "code"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG]
)
def test_a_wrong_square_is_named(wrong, sample, code):
    verdict = verify_function(wrong, torch.square, samples=sample, **FLOAT64)

    assert code in codes(verdict), verdict


def test_an_output_that_is_kept_and_not_saved_is_found():
    wrong = f.back(f.Square, lambda ctx, g: ctx.out * g, forward=f.keep_out)

    verdict = verify_function(wrong, torch.exp, samples=f.rows, **FLOAT64)

    assert codes(verdict) == {"stale-weights"}
    assert "output 0 is changed in place" in str(verdict)


def test_a_gradient_that_is_not_reduced_is_a_finding_and_that_the_engine_mends_it_a_note():
    wrong = f.back(f.Affine, f.unsummed)

    verdict = verify_function(wrong, f.scaled_affine, samples=f.affine, **FLOAT64)

    assert [(x.code, x.gradient, x.backward) for x in verdict.findings] == [
        ("not-reduced", "grad_b", "Affine.backward")
    ]
    assert [(x.code, x.backward) for x in verdict.notes] == [("not-reduced", "Affine (autograd)")]
    assert "engine mends it" in verdict.notes[0].message


def test_what_the_engine_cannot_mend_is_no_such_note():
    def narrow(ctx, grad_out):  # a cast to float64 does not bring the lost digits back
        return f.twice(ctx, grad_out).float()

    verdict = verify_function(f.back(f.Square, narrow), torch.square, samples=f.rows, **FLOAT64)

    assert {finding.backward for finding in verdict.findings} == {
        "Square.backward",
        "Square (autograd)",
    }
    assert not verdict.notes


def test_every_subset_of_what_needs_a_gradient_is_tried():
    for asked, right in ((1, True), (0, False), (2, False)):
        function = f.back(f.Affine, f.mask_of(asked))
        verdict = verify_function(function, f.scaled_affine, samples=f.affine, **FLOAT64)
        assert verdict.ok is right, verdict
        if not right:
            assert codes(verdict) == {"not-a-tensor"}
            assert "only w needs a gradient" in str(verdict)


def test_work_that_nobody_needs_is_a_note():
    idle = f.back(f.Affine, f.unasked)

    verdict = verify_function(idle, f.scaled_affine, samples=f.affine, **FLOAT64)

    assert verdict.ok
    assert "extra-term" in {note.code for note in verdict.notes}


@pytest.mark.parametrize("asks_for_none", [True, False])
def test_an_undefined_grad_out_is_handed_over_as_the_function_asks_for_it(asks_for_none):
    function = f.ProductAndSineOfNone if asks_for_none else f.ProductAndSine
    careless = f.back(function, f.ProductAndSine.backward)

    verdict = verify_function(careless, f.product_and_sine, samples=f.pair, **FLOAT64)

    assert verdict.ok is not asks_for_none, verdict
    if asks_for_none:
        assert codes(verdict) == {"raises"}


def test_one_output_alone_shows_what_both_together_hide():
    def crossed(ctx, grad_product, grad_sine):
        grad_x, grad_y = f.ProductAndSine.backward(ctx, grad_product, grad_sine)
        alone = not bool(grad_sine.any())
        return 2 * grad_x if alone and grad_x is not None else grad_x, grad_y

    verdict = verify_function(
        f.back(f.ProductAndSine, crossed), f.product_and_sine, samples=f.pair, **FLOAT64
    )

    assert not verdict.ok
    assert any("output 0 alone" in finding.sample for finding in verdict.findings)


def test_a_forward_that_writes_without_telling_autograd_is_found():
    wrong = f.back(f.ReluInPlace, f.ReluInPlace.backward, forward=f.write_without_a_word)

    verdict = verify_function(wrong, torch.relu, samples=f.rows, **FLOAT64)

    assert codes(verdict) == {"mutates"}
    assert "ctx.mark_dirty(x)" in str(verdict)


def test_a_gradient_by_what_the_reference_does_not_depend_on_is_found():
    verdict = verify_function(torch.mul, lambda x, y: x * y.detach(), samples=f.pair, **FLOAT64)

    assert [(x.code, x.gradient) for x in verdict.findings] == [("extra-term", "grad_y")]


@pytest.mark.parametrize("name", ["value", "index"])
def test_outputs_that_have_no_gradient_are_held_to_the_reference_too(name):
    def other(ctx, x):
        value, index = f.Largest.forward(ctx, x)
        return (value, index + 1) if name == "index" else (value * 2, index)

    wrong = f.back(f.Largest, f.Largest.backward, forward=other)

    verdict = verify_function(wrong, lambda x: tuple(x.max(-1)), samples=f.rows, **FLOAT64)

    assert codes(verdict) == {"forward"}
