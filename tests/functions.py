"""Functions of autograd, right and wrong, each beside what it is held to."""

import torch
import torch.nn.functional as F
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def rows(rand, n=11, i=7):
    return (rand(n, i),)


def pair(rand, n=11, i=7):
    return rand(n, i), rand(n, i)


def affine(rand, n=11, i=7, o=5):
    return rand(n, i), rand(i, o), rand(o), 0.5


class Square(Function):
    """Right; the wrong ones below differ in one thing."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad_out):
        (x,) = ctx.saved_tensors
        return 2 * x * grad_out


class SquareByVjp(Function):
    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def vjp(ctx, grad_out):
        (x,) = ctx.saved_tensors
        return 2 * x * grad_out


class SquareInFloat32(Function):
    """A kernel that has neither float64 nor the CPU's other dtypes."""

    @staticmethod
    def forward(ctx, x):
        if x.dtype is not torch.float32:
            raise ValueError("float32 only")
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out):
        (x,) = ctx.saved_tensors
        return 2 * x * grad_out


class ReluInPlace(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        ctx.save_for_backward(x.clamp_(min=0))
        return x

    @staticmethod
    def backward(ctx, grad_out):
        (out,) = ctx.saved_tensors
        return grad_out * (out > 0)


class Largest(Function):
    """Two outputs, of which one is not differentiable."""

    @staticmethod
    def forward(ctx, x):
        value, index = x.max(-1)
        ctx.mark_non_differentiable(index)
        ctx.save_for_backward(index)
        ctx.length = x.shape[-1]
        return value, index

    @staticmethod
    def backward(ctx, grad_value, _):
        (index,) = ctx.saved_tensors
        zeros = grad_value.new_zeros(*grad_value.shape, ctx.length)
        return zeros.scatter_(-1, index[..., None], grad_value[..., None])


class ProductAndSine(Function):
    """Two outputs; an undefined grad_out is zeros."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y, x.sin()

    @staticmethod
    def backward(ctx, grad_product, grad_sine):
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        grad_x = grad_product * y + grad_sine * x.cos() if need_x else None
        return grad_x, grad_product * x if need_y else None


class ProductAndSineOfNone(ProductAndSine):
    """An undefined grad_out is None."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.set_materialize_grads(False)
        return ProductAndSine.forward(ctx, x, y)

    @staticmethod
    def backward(ctx, grad_product, grad_sine):
        x, y = ctx.saved_tensors
        need_x, need_y = ctx.needs_input_grad
        of_product = grad_product * y if need_x and grad_product is not None else None
        of_sine = grad_sine * x.cos() if need_x and grad_sine is not None else None
        terms = [term for term in (of_product, of_sine) if term is not None]
        grad_x = sum(terms[1:], terms[0]) if terms else None
        return grad_x, grad_product * x if need_y and grad_product is not None else None


class SparseEmbedding(Function):
    @staticmethod
    def forward(ctx, w, index):
        ctx.save_for_backward(index)
        ctx.shape = w.shape
        return w[index]

    @staticmethod
    def backward(ctx, grad_out):
        (index,) = ctx.saved_tensors
        return torch.sparse_coo_tensor(index[None], grad_out, ctx.shape), None


class Round(Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad_out):
        return grad_out.clone()


class Reverse(Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.clone()

    @staticmethod
    def backward(ctx, grad_out):
        return -ctx.strength * grad_out, None


class Affine(Function):
    @staticmethod
    def forward(ctx, x, w, b, scale):
        ctx.save_for_backward(x, w)
        ctx.scale = scale
        return (x @ w + b) * scale

    @staticmethod
    def backward(ctx, grad_out):
        x, w = ctx.saved_tensors
        grad_out = grad_out * ctx.scale
        need_x, need_w, need_b, _ = ctx.needs_input_grad
        return (
            grad_out @ w.T if need_x else None,
            x.T @ grad_out if need_w else None,
            grad_out.sum(0) if need_b else None,
            None,
        )


def scaled_affine(x, w, b, scale):
    return F.linear(x, w.T, b) * scale


def product_and_sine(x, y):
    return torch.mul(x, y), torch.sin(x)


def back(function, backward, **more):
    """The function with another backward, and whatever else is to be another."""
    methods = {name: staticmethod(method) for name, method in more.items()}
    return type(function.__name__, (function,), {"backward": staticmethod(backward), **methods})


def twice(ctx, grad_out):
    return 2 * ctx.saved_tensors[0] * grad_out


def keep_x(ctx, x):
    ctx.x = x
    return x * x


def keep_out(ctx, x):
    ctx.out = x.exp()
    return ctx.out


def keep_slope(ctx, x):
    ctx.slope = 2 * x
    return x * x


def save_slope(ctx, x):
    ctx.save_for_backward(2 * x)
    return x * x


def mask_of(needed):
    """A backward of Affine that asks after the wrong argument for one of its gradients."""

    def backward(ctx, grad_out):
        grad_x, grad_w, grad_b, _ = Affine.backward(ctx, grad_out)
        return grad_x, grad_w if ctx.needs_input_grad[needed] else None, grad_b, None

    return backward


def unsummed(ctx, grad_out):
    grad_x, grad_w, _, _ = Affine.backward(ctx, grad_out)
    return grad_x, grad_w, grad_out * ctx.scale, None


def unasked(ctx, grad_out):
    ctx_needs = (True, True, True, False)
    x, w = ctx.saved_tensors
    assert len(ctx_needs) == len(ctx.needs_input_grad)
    grad_out = grad_out * ctx.scale
    return grad_out @ w.T, x.T @ grad_out, grad_out.sum(0), None


def write_without_a_word(ctx, x):
    ctx.save_for_backward(x.clamp_(min=0))
    return x
