"""Powers, quotients, products, means, and graphs that fork: calculus by hand."""

import math

import torch

from manual_backprop.op import Op
from tests.mistakes import mistake


def cube(x):
    return x**3


def back_cube(x, grad_out):
    return 3 * x**2 * grad_out


VECTOR = {"vector": lambda rand, n=11: (rand(n),)}
CUBE = Op(forward=cube, backwards=(back_cube,), samples=VECTOR, wrt=("x",))


@mistake(CUBE, "factor", "missing-factor", of="T1", seen="davisking/dlib#1169")
def back_cube_without_the_three(x, grad_out):
    return x**2 * grad_out


@mistake(CUBE, "missing-factor", of="T4", seen="iamtrask/Grokking-Deep-Learning#50")
def back_cube_as_of_the_square(x, grad_out):
    return 3 * x * grad_out


@mistake(CUBE, "extra-factor", of="T4", seen="ttezel/nn#8")
def back_cube_exponent_kept(x, grad_out):
    return 3 * x**3 * grad_out


def log2(x):
    return torch.log(x) / math.log(2)


def back_log2(x, grad_out):
    return grad_out / (x * math.log(2))


POSITIVE = {"positive": lambda rand, n=11: (rand(n).abs() + 0.5,)}
LOG2 = Op(forward=log2, backwards=(back_log2,), samples=POSITIVE, wrt=("x",), oracle=torch.log2)


@mistake(LOG2, "factor", "missing-factor", of="T1", seen="jxgu1016/MNIST_center_loss_pytorch#9")
def back_log2_of_the_natural_logarithm(x, grad_out):
    return grad_out / x


@mistake(LOG2, "factor", "extra-factor", of="T1", seen="mlpack/ensmallen#428")
def back_log2_times_the_base(x, grad_out):
    return grad_out * math.log(2) / x


def divide(a, b):  # a (n, k), b (k)
    return a / b


def back_divide(a, b, grad_out):
    return grad_out / b, -(grad_out * a / b**2).sum(0)


DIVIDE = Op(
    forward=divide,
    backwards=(back_divide,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k).abs() + 0.5)},
    wrt=("a", "b"),
)


@mistake(DIVIDE, "sign", of="T7", seen="owlbarn/owl#532")
def back_divide_without_the_minus(a, b, grad_out):
    return grad_out / b, (grad_out * a / b**2).sum(0)


@mistake(DIVIDE, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#15")
def back_divide_not_squared(a, b, grad_out):
    return grad_out / b, -(grad_out * a / b).sum(0)


@mistake(DIVIDE, "wrong-axis", of="T2", seen="tracel-ai/burn#686")
def back_divide_sum_over_all(a, b, grad_out):
    return grad_out / b, -(grad_out * a / b**2).sum().expand_as(b).clone()


@mistake(DIVIDE, "missing-factor", of="T4", seen="tsoding/nn.h#18")
def back_divide_without_the_numerator(a, b, grad_out):
    return grad_out / b, -(grad_out / b**2).sum(0)


def product(a, b, c):  # each (n)
    return a * b * c


def back_product(a, b, c, grad_out):
    return grad_out * b * c, grad_out * a * c, grad_out * a * b


PRODUCT = Op(
    forward=product,
    backwards=(back_product,),
    samples={"vectors": lambda rand, n=11: (rand(n), rand(n), rand(n))},
    wrt=("a", "b", "c"),
)


@mistake(PRODUCT, "swapped", of="T21", seen="DLS 402919")
def back_product_first_two_swapped(a, b, c, grad_out):
    return grad_out * a * c, grad_out * b * c, grad_out * a * b


@mistake(PRODUCT, "missing-factor", of="T6", seen="DLS 723602")
def back_product_one_factor_lost(a, b, c, grad_out):
    return grad_out * b, grad_out * a * c, grad_out * a * b


@mistake(PRODUCT, "extra-factor", of="T6", seen="DLS 723602")
def back_product_derivative_times_the_variable(a, b, c, grad_out):
    return grad_out * b * c, grad_out * a * c, grad_out * a * b * c


@mistake(PRODUCT, "wrong-argument", of="T6", seen="DLS 674897")
def back_product_own_factor_for_the_other(a, b, c, grad_out):
    return grad_out * a * c, grad_out * a * c, grad_out * a * b


def outer(a, b):  # a (n), b (k): (n, k)
    return a[:, None] * b[None, :]


def back_outer(a, b, grad_out):
    return grad_out @ b, a @ grad_out


OUTER = Op(
    forward=outer,
    backwards=(back_outer,),
    samples={"vectors": lambda rand, n=11, k=7: (rand(n), rand(k))},
    wrt=("a", "b"),
)


@mistake(OUTER, "missing-factor", of="T2", seen="minitorch Module-2#14")
def back_outer_sums_alone(a, b, grad_out):
    return grad_out.sum(1), a @ grad_out


@mistake(OUTER, "not-reduced", of="T2", seen="pytorch/pytorch#913")
def back_outer_second_not_summed(a, b, grad_out):
    return grad_out @ b, grad_out * a[:, None]


def mean_over_rows(x):  # x (n, k, s), mean over n and s: (k)
    return x.mean(dim=(0, 2))


def back_mean_over_rows(x, grad_out):
    return (grad_out / (x.shape[0] * x.shape[2]))[None, :, None].expand_as(x).clone()


MEAN_OVER_ROWS = Op(
    forward=mean_over_rows,
    backwards=(back_mean_over_rows,),
    samples={"stacked": lambda rand, m=3, k=7, s=5: (rand(m, k, s),)},
    wrt=("x",),
)


@mistake(MEAN_OVER_ROWS, "sum-for-mean", of="T1", seen="apache/mxnet#2427")
def back_mean_over_rows_by_the_batch_alone(x, grad_out):
    return (grad_out / x.shape[0])[None, :, None].expand_as(x).clone()


@mistake(MEAN_OVER_ROWS, "sum-for-mean", of="T1", seen="davharris/mistnet#33")
def back_mean_over_rows_as_of_a_sum(x, grad_out):
    return grad_out[None, :, None].expand_as(x).clone()


@mistake(MEAN_OVER_ROWS, "mean-for-sum", of="T1", seen="pytorch/pytorch#3322")
def back_mean_over_rows_by_all_entries(x, grad_out):
    return (grad_out / x.numel())[None, :, None].expand_as(x).clone()


@mistake(MEAN_OVER_ROWS, "shape", of="T2", seen="pytorch/pytorch#1787")
def back_mean_over_rows_not_spread(x, grad_out):
    return grad_out / (x.shape[0] * x.shape[2])


def diamond(a, b):  # both (n): c = a b goes two ways, and d is used twice
    c = a * b
    d = torch.sin(c) + a
    return d * c + d


def _diamond(a, b, grad_out):
    c = a * b
    d = torch.sin(c) + a
    return c, grad_out * (c + 1), grad_out * d


def back_diamond(a, b, grad_out):
    c, grad_d, grad_c = _diamond(a, b, grad_out)
    grad_c = grad_c + grad_d * torch.cos(c)
    return grad_c * b + grad_d, grad_c * a


DIAMOND = Op(
    forward=diamond,
    backwards=(back_diamond,),
    samples={"vectors": lambda rand, n=11: (rand(n), rand(n))},
    wrt=("a", "b"),
)


@mistake(DIAMOND, "missing-branch", of="T20", seen="micrograd#64")
def back_diamond_c_before_it_is_complete(a, b, grad_out):
    _, grad_d, grad_c = _diamond(a, b, grad_out)
    return grad_c * b + grad_d, grad_c * a


@mistake(DIAMOND, "missing-branch", of="T20", seen="lucasdelimanogueira/PyNorch#90")
def back_diamond_d_before_it_is_complete(a, b, grad_out):
    c, _, grad_c = _diamond(a, b, grad_out)
    grad_d = grad_out * c
    grad_c = grad_c + grad_d * torch.cos(c)
    return grad_c * b + grad_d, grad_c * a


@mistake(DIAMOND, "missing-branch", of="T20", seen="micrograd#68")
def back_diamond_first_way_of_a_only(a, b, grad_out):
    c, grad_d, grad_c = _diamond(a, b, grad_out)
    grad_c = grad_c + grad_d * torch.cos(c)
    return grad_c * b, grad_c * a


@mistake(DIAMOND, "missing-factor", of="T4", seen="BoltzmannEntropy/interviews.ai#4")
def back_diamond_past_the_sine(a, b, grad_out):
    _, grad_d, grad_c = _diamond(a, b, grad_out)
    grad_c = grad_c + grad_d
    return grad_c * b + grad_d, grad_c * a


def quadratic(x, a):  # x (n, k), a (k, k), not symmetric; one number per row
    return torch.einsum("ni,ij,nj->n", x, a, x)


def back_quadratic(x, a, grad_out):
    g = grad_out[:, None]
    return g * (x @ a.T + x @ a), (g * x).T @ x


QUADRATIC = Op(
    forward=quadratic,
    backwards=(back_quadratic,),
    samples={"rows": lambda rand, n=11, k=7: (rand(n, k), rand(k, k))},
    wrt=("x", "a"),
)


@mistake(QUADRATIC, "wrong-argument", of="T6", seen="math.SE 4309162")
def back_quadratic_of_a_symmetric_matrix(x, a, grad_out):
    g = grad_out[:, None]
    return 2 * g * (x @ a), (g * x).T @ x


@mistake(QUADRATIC, "missing-branch", of="T8", seen="HIPS/autograd#39")
def back_quadratic_of_one_side(x, a, grad_out):
    g = grad_out[:, None]
    return g * (x @ a.T), (g * x).T @ x
