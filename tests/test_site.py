"""What the generated pages of the site are made of."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from manual_backprop import rounding_budget
from manual_backprop.judge.examples import ON_A_MESH, WITHOUT
from manual_backprop.registry import OPS
from scripts.site import mesh
from scripts.site.accessible import mended
from scripts.site.articles import _computed
from scripts.site.findings import Contradicted
from scripts.site.live import operators
from scripts.site.numbers import matrix, number
from scripts.site.page_links import on_the_site, pages
from scripts.site.verdicts import _wrong
from scripts.site.worked import UPSTREAM, worked
from scripts.site.wrong import WRITTEN, Wrong, wrong_versions
from tests.every import every_op
from tests.forge import anchors

ROOT = Path(__file__).parents[1]


@every_op
def test_the_worked_example_is_right_and_each_entry_is_the_sum_shown(op):
    example = worked(op)
    for entry in example.entries:
        grad = example.grads[entry.label]
        total = torch.tensor([g * slope for g, slope in entry.terms], dtype=torch.float64).sum()
        (budget,) = rounding_budget(lambda g: (g * 1,), [grad], torch.float32)
        assert abs(total - grad[entry.index]) <= budget.allowed[entry.index]
        assert entry.value == float(grad[entry.index])


@every_op
def test_the_worked_example_is_what_the_hand_written_backward_gives(op):
    example = worked(op)
    backward = op.backwards[0]
    names = inspect.signature(backward).parameters
    known = {**example.inputs, "out": example.out, "grad_out": example.grad_out, **example.options}
    if any("[" in name for name in example.inputs):
        known["weights"] = tuple(v for k, v in example.inputs.items() if k.startswith("weights["))
    got = backward(**{name: known[name] for name in names if name in known})
    flat = [
        t
        for one in (got if isinstance(got, tuple) else (got,))
        for t in (one if isinstance(one, tuple) else (one,))
    ]
    assert len(flat) == len(example.grads)
    for mine, right in zip(flat, example.grads.values(), strict=True):
        (budget,) = rounding_budget(lambda g: (g * 1,), [right], torch.float32)
        assert budget.ratio(mine) <= 1


def test_the_numbers_of_an_example_are_plain():
    for op in OPS.values():
        for tensor in worked(op).inputs.values():
            for value in tensor.flatten().tolist():
                assert len(number(value)) <= 5
    assert set(UPSTREAM) >= set(worked(OPS["lin"]).grad_out.flatten().tolist())


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-0.0, "0"), (2.0, "2"), (-0.5, "-0.5"), (1 / 3, "0.3333"), (100.0, "100")],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def test_a_table_is_a_matrix():
    assert matrix(torch.tensor([[1.0, -0.5], [2, 0]])) == (
        r"\begin{bmatrix} 1 & -0.5 \\ 2 & 0 \end{bmatrix}"
    )


def test_live_views_are_of_operators():
    assert set(operators()) <= set(OPS)
    asked = {"lin", "relu", "sigmoid", "tanh", "softmax", "mse", "cross_entropy"}
    assert asked <= set(operators())


@every_op
def test_every_operator_has_popular_mistakes(op):
    versions = wrong_versions(op)
    assert len({one.source for one in versions}) >= 2
    for one in versions:
        assert re.search(rf"^def back_{op.name}\(", one.source, re.MULTILINE)
        assert one.says.endswith(".")


def test_mistakes_are_written_for_operators():
    assert set(WRITTEN) <= set(OPS)


def test_what_is_shown_as_wrong_has_to_be_rejected():
    right = "def back_relu(x, grad_out):\n    return (x > 0) * grad_out\n"
    with pytest.raises(Contradicted, match="lets pass what is shown as wrong"):
        _wrong(OPS["relu"], Wrong("It is right.", right))


def test_what_is_shown_as_wrong_has_to_have_a_name():
    cubed = "def back_relu(x, grad_out):\n    return (x > 0) * grad_out * (1 + x**2 / 7)\n"
    with pytest.raises(Contradicted, match="no name"):
        _wrong(OPS["relu"], Wrong("Nobody writes this.", cubed))


def test_an_operator_of_which_nothing_is_written_has_the_mistakes_of_any(monkeypatch):
    monkeypatch.delitem(WRITTEN, "exp")
    told = [_wrong(OPS["exp"], one)["code"] for one in wrong_versions(OPS["exp"])]
    assert told == ["ignores-grad-out", "sign"]


def test_every_code_of_the_mesh_has_an_example_that_stands_on_the_page():
    assert set(mesh.EXAMPLES) == {code for code, why in WITHOUT.items() if why == ON_A_MESH}
    given = "\n".join(mesh.shared())
    for code in mesh.EXAMPLES:
        forward, wrong, right = mesh.example(code)
        assert "x @ w" in forward
        assert wrong != right
        called = set(re.findall(r"\b(grads|mean_grads|whole|reduced)\(", wrong + right))
        assert all(f"def {name}(" in given for name in called)


def test_an_example_of_the_mesh_that_is_called_otherwise_stops_the_build():
    with pytest.raises(Contradicted, match="placement is called right"):
        mesh._only("placement", [])


def test_of_many_draws_the_range_is_told():
    digits = {"decimals": 2}
    assert (
        _computed([0.02, 0.0512, 0.01], [0.01, 0.05], digits) == "from 0.0100 to 0.0512, in 3 draws"
    )
    assert re.findall(r">([\d.]+)<", _computed([0.01, 0.05], [0.01, 0.05], digits)) == [
        "0.0100",
        "0.0500",
    ]


def test_what_was_mended_is_not_mended_again():
    page = '<p class="caption" role="heading"><div id="search-results"></div>'
    assert mended(page) != page
    assert mended(mended(page)) == mended(page)


@every_op
def test_a_link_to_an_operators_file_leads_to_its_page(op):
    file = Path(inspect.getfile(inspect.unwrap(op.forward))).relative_to(ROOT)
    linked = f"[{op.name}](../{file.as_posix()}), [another](../manual_backprop/op.py)"
    assert on_the_site(linked) == (
        f"[{op.name}](operators/{op.name}.md), [another](../manual_backprop/op.py)"
    )


def test_what_the_pages_are_made_of_is_there():
    for target in pages():
        file, _, anchor = target.partition("#")
        assert (ROOT / "docs" / file).exists()
        assert not anchor or anchor in anchors(ROOT / "docs" / file)
