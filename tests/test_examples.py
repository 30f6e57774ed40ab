"""Every example draws what its text says, alone, with no window and no warning."""

import os
import runpy
import subprocess
import sys
import warnings
from functools import cache
from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest
import torch
from matplotlib import pyplot as plt

from manual_backprop import back_softmax, rounding_budget, softmax_jacobian
from manual_backprop.data import article_numbers
from manual_backprop.training.train import Options, by_autograd, draw_weights
from tests.articles.case import Row
from tests.pictures import can_be_read
from tests.printed import assert_printed

ROOT = Path(__file__).parents[1]
EXAMPLES = {path.stem.removeprefix("plot_"): path for path in (ROOT / "examples").glob("plot_*.py")}


@cache
def run(path):
    """What the example leaves behind: its namespace, and its figures as they are when it shows."""
    figures = []

    def show():
        figures.extend(map(plt.figure, plt.get_fignums()))

    with (
        matplotlib.rc_context(),
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        plt.switch_backend("agg")
        matplotlib.rcdefaults()
        patch.setattr(plt, "show", show)
        patch.chdir(path.parent)  # as sphinx-gallery does
        try:
            namespace = runpy.run_path(str(path), run_name="__main__")
            assert figures == list(map(plt.figure, plt.get_fignums())), "a figure is not shown"
            for figure in figures:
                figure.canvas.draw()
        finally:
            plt.close("all")
    return namespace, figures


def check(path):
    """The figures are there, something is drawn in each of their axes, and all text can be read."""
    _, figures = run(path)
    assert figures, "no figure"
    for figure in figures:
        can_be_read(figure)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_draws_what_can_be_read(name):
    check(EXAMPLES[name])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("plt.plot([1, 2]); plt.show(); 1 / 0", "division by zero"),
        ("plt.plot([1, 2]); plt.show(); import warnings; warnings.warn('old')", "old"),
        ("plt.show()", "no figure"),
        ("plt.plot([1, 2])", "a figure is not shown"),
        ("plt.show(); plt.plot([1, 2])", "a figure is not shown"),
        ("plt.figure(); plt.show()", "an empty figure"),
        ("plt.subplots(); plt.show()", "empty axes"),
        ("plt.plot([1, 2]); plt.title('long ' * 50); plt.show()", "is cut off"),
        ("plt.plot([1, 2]); plt.text(0, 1, 'one'); plt.text(0, 1, 'two'); plt.show()", "overlap"),
    ],
)
def test_what_is_wrong_with_an_example_is_found(code, said, tmp_path):
    path = tmp_path / "plot_wrong.py"
    path.write_text(f"import matplotlib.pyplot as plt\n{code}\n", encoding="utf-8")
    with pytest.raises((ArithmeticError, AssertionError, UserWarning), match=said):
        check(path)


@pytest.mark.process
def test_from_the_shell_it_ends_cleanly_and_writes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES["activations"]],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def left_by(request):
    """What the example of that name leaves in its namespace."""
    return run(EXAMPLES[request.param])[0]


def of(name):
    return pytest.mark.parametrize("left_by", [name], indirect=True, ids=[name])


@of("activations")
def test_slopes_are_as_small_as_the_text_says(left_by):
    slopes = {name: slope for name, (_, slope) in left_by["curves"].items()}
    assert not slopes["step"].any()
    assert slopes["sigmoid"].max() == 1 / 4
    assert (1 / 4) ** 10 < 1e-6
    assert slopes["tanh"].max() == 1
    assert set(slopes["relu"].tolist()) == {0, 1}
    for from_out, from_x in left_by["tails"].values():
        assert from_out[-1] == 0
        assert (from_x > 0).all()
    from_out, _ = left_by["tails"]["sigmoid"]
    assert 16 < left_by["x"][from_out > 0][-1] < 17


@of("softmax_jacobian")
def test_rows_sum_to_0_and_the_matrix_is_not_needed(left_by):
    row, p, jacobian = Row("D4"), left_by["p"], left_by["jacobian"]
    for i in (1, 2):
        assert_printed(row, f"d_p{i}", jacobian[i])
    (budget,) = rounding_budget(lambda p: softmax_jacobian(p).sum(1), (p,), p.dtype)
    assert budget.truth.abs().max() < jacobian.abs().min() * torch.finfo(p.dtype).eps * 10
    assert budget.ratio(jacobian.sum(1)) <= 1
    (budget,) = rounding_budget(back_softmax, (left_by["many"], left_by["grad_out"]), p.dtype)
    assert budget.ratio(left_by["by_matrix"]) <= 1


@of("himmelblau")
def test_all_four_minima_are_reached_and_adam_ends_where_the_article_says(left_by):
    row = article_numbers()["D14"]
    ends = left_by["paths"][-1].T
    unit = 10.0 ** -row["digits"]["minima"]["decimals"]  # one of them is printed cut off
    order = [0, 1, 2, 3]
    assert torch.cdist(ends, left_by["minima"]).argmin(1).tolist() == order
    assert ((ends - left_by["minima"]).abs() <= unit).all()
    assert left_by["basins"].unique().tolist() == order

    path = left_by["ways"]["Adam"]
    assert path.shape[1] - 1 == row["inputs"]["steps"]
    reached = torch.tensor(row["expected"]["reached"], dtype=torch.float64)
    (budget,) = rounding_budget(torch.clone, (reached,), torch.float64)
    assert budget.ratio(path[:, -1]) <= 1
    steps = {
        name: int((left_by["himmelblau"](*path) < 1).nonzero()[0])
        for name, path in left_by["ways"].items()
    }
    assert steps["momentum"] < steps["descent"] < steps["Adam"]


@of("linear_regression")
def test_the_error_obeys_the_law(left_by):
    steps, eps = left_by["steps"], torch.finfo(torch.float64).eps
    allowed = (steps + 10) * eps * left_by["best"].abs().max()  # each step rounds once, and so do
    assert ((left_by["errors"] - left_by["law"]).norm(dim=1) <= 2 * allowed).all()  # power and axes
    assert ((left_by["factors"] > 0) & (left_by["factors"] < 1)).all()
    flat, steep = (1 - left_by["factors"]).tolist()
    assert round(flat, 3) == 0.001
    assert steep > 10 * flat


@of("step_sizes")
def test_the_losses_fall_and_never_below_the_floor(left_by):
    row = Row("E7")
    losses = list(left_by["losses"].values())
    assert_printed(row, "loss", torch.tensor([series[-1] for series in losses]))
    assert_printed(row, "bound", left_by["floor"])
    for series in losses:
        assert all(loss > left_by["floor"] for loss in series)
        assert all(later < earlier for earlier, later in pairwise(series))


@of("landscapes")
def test_descent_rests_where_the_text_says(left_by):
    ends = left_by["ends"]
    for name, points in ends.items():
        for point in points:
            if name != "saddle" or point is points[0]:
                slope = torch.stack(left_by["gradients"][name](*point))
                assert slope.norm() < 1e-3, f"{name}: there is a slope at {point}"
    shallow, deep = (left_by["valleys"](x) for x, _ in ends["two valleys"])
    assert deep < shallow
    stays, leaves = ends["saddle"]
    assert stays[1] == 0
    assert leaves[1].abs() > 1


@of("accuracy")
def test_accuracy_rests_and_jumps_while_the_loss_falls(left_by):
    row = article_numbers()["D15"]["expected"]
    (rests, low), (still, high) = left_by["before"], left_by["after"]
    assert still - rests == row["change_within_a_class"]
    assert [low, high] == row["accuracy_across_the_threshold"]
    assert all(later < earlier for earlier, later in pairwise(left_by["losses"]))
    changes = [later - earlier for earlier, later in pairwise(left_by["accuracies"])]
    assert min(changes) < 0 < max(changes)
    assert changes.count(0) > len(changes) / 2


@of("digits")
def test_by_hand_and_by_autograd_the_losses_are_one(left_by):
    labels, told = left_by["labels"], left_by["told"]
    assert left_by["accuracy"] > 0.9
    assert labels[left_by["good"]].tolist() == told[left_by["good"]].tolist() == list(range(10))
    assert (told[left_by["bad"]] != labels[left_by["bad"]]).all()

    options = Options(dtype="float64")
    batches = [left_by["training"].rows(batch, torch.float64) for batch in left_by["order"][:10]]

    def curve(*weights):
        losses = []
        for x, target in batches:
            loss, grads = by_autograd(x, weights, target, relu_logits=False)
            losses.append(loss)
            weights = [w - options.lr * grad for w, grad in zip(weights, grads, strict=True)]
        return torch.stack(losses)

    (budget,) = rounding_budget(curve, draw_weights(options), torch.float64)
    for losses in left_by["losses"].values():
        assert len(losses) == len(left_by["order"])
        assert budget.ratio(losses[: len(batches)]) <= 1
