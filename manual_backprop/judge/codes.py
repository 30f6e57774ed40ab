"""The codes of findings: what each says is wrong, and where to look."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """One kind of mistake.

    Attributes:
        meaning: what is wrong; of a wrong value, what the gradient that came is.
        advice: where to look, in one sentence.
    """

    meaning: str
    advice: str


CODES = {
    # the call
    "raises": Code(
        "The function raised an error.",
        "Read the line that is named; run the forward's shapes through your formula by hand.",
    ),
    "timeout": Code(
        "The function did not come back in time.",
        "Look for a loop that does not end, or one that walks over entries in Python.",
    ),
    "crash": Code(
        "The function ended the process that it ran in.",
        "Look for exit(), for memory that compiled code writes to, or for too much of it.",
    ),
    "unwritten": Code(
        "The function is not written yet.",
        "Put your own lines in place of raise NotImplementedError.",
    ),
    "arity": Code(
        "The number of gradients is not that of the arguments that get one.",
        "Return one gradient for each argument that gets one, in the order of the arguments.",
    ),
    "not-a-tensor": Code(
        "A gradient is no tensor but None, a number, a tuple or an array of numpy.",
        "End the function with return and the gradient, as a tensor of torch.",
    ),
    "shape": Code(
        "A gradient has another shape than what it is the gradient of.",
        "A gradient has exactly the shape of its argument: write both shapes beside your formula.",
    ),
    "not-reduced": Code(
        "A gradient still has an axis over which its argument was broadcast.",
        "What was repeated in the forward is summed in the backward: sum over that axis.",
    ),
    "transposed": Code(
        "The right gradient, transposed.",
        "Transpose the result, or turn the product round: (a.T @ b).T is b.T @ a.",
    ),
    "dtype": Code(
        "A gradient has another dtype than its argument.",
        "Look for a constant or a cast that changes the dtype.",
    ),
    "device": Code(
        "A gradient lies on another device than its argument.",
        "Create new tensors on the device of the tensors that you are given.",
    ),
    "mutates": Code(
        "The function writes to what it was given.",
        "Work on a copy, x = x.clone(), or make a new tensor: x * y for x *= y, x.mul(y) for "
        "x.mul_(y), torch.where for x[...] = y.",
    ),
    "aliases": Code(
        "A gradient shares memory with an argument or another gradient.",
        "Return a tensor of its own: .clone() what you pass on.",
    ),
    "stateful": Code(
        "A second call gives another result than the first: something is kept between calls.",
        "Look for a global, a default argument that is changed, or += on something that outlives "
        "the call.",
    ),
    "not-repeatable": Code(
        "The same call gives another result: random numbers are drawn, or sums are added up in no "
        "fixed order.",
        "Draw nothing in a backward; what is random belongs to the forward's arguments.",
    ),
    "layout": Code(
        "Right for contiguous tensors, wrong for others that hold the same numbers.",
        "Look for .view, .data_ptr, strides, or memory that is taken to lie row by row.",
    ),
    "nan": Code(
        "Not finite where the right gradient is.",
        "Look for 0/0, inf - inf, log 0, or an exponential of a large number; divide last.",
    ),
    "ignores-grad-out": Code(
        "The gradient does not change when grad_out does.",
        "This is the local derivative; multiply it by grad_out, as the chain rule says.",
    ),
    "not-linear": Code(
        "The gradient is no linear function of grad_out: clipped, normalised, or multiplied twice.",
        "A backward multiplies grad_out by something that does not depend on grad_out.",
    ),
    # the whole gradient
    "zero": Code(
        "Every entry is 0.",
        "Look for a sum that cancels, a product with a mask of zeros, or a tensor never filled.",
    ),
    "sign": Code(
        "A minus is missing or too much: of the whole gradient, or of one term of it.",
        "The gradient points uphill; it is the update that subtracts it. Look at every difference: "
        "d(a - b) is -1 for b.",
    ),
    "factor": Code(
        "A constant times the right gradient, or times one term of it, and not an axis's size: 2, "
        "1/2, ln 2, ...",
        "Where has the forward such a number: the 2 of a square, a 1/2 before a loss?",
    ),
    "sum-for-mean": Code(
        "Too large by the size of an axis: the gradient of a sum, where the forward has a mean.",
        "Divide by the number of entries that the mean runs over.",
    ),
    "mean-for-sum": Code(
        "Too small by the size of an axis: a mean is taken where a sum is due.",
        "What was broadcast in the forward is summed in the backward, not averaged.",
    ),
    "swapped": Code(
        "Two gradients have changed places.",
        "Return them in the order of the arguments.",
    ),
    "flipped": Code(
        "The right gradient in reverse order along an axis.",
        "Look for a flip too many or too few: a convolution's kernel, a cumulative sum, a scan.",
    ),
    # one place in the formula
    "missing-factor": Code(
        "A factor is missing: a local derivative, a weight, grad_out.",
        "Every step of the chain rule multiplies: go through the forward line by line and see "
        "that each one's derivative is there.",
    ),
    "extra-factor": Code(
        "A factor is there once too often.",
        "Look for a derivative that is multiplied twice, as where the loss's already holds the "
        "activation's.",
    ),
    "missing-term": Code(
        "A term of the formula is missing: softmax's sum, the 1 at the target, a penalty's λ w.",
        "Derive it once more for two entries, and write down every term.",
    ),
    "extra-term": Code(
        "A term is there that does not belong.",
        "Look for something added that the forward does not have.",
    ),
    "missing-branch": Code(
        "A tensor is used in several places of the forward, and one way back is not followed.",
        "Count in how many places the forward uses the tensor; its gradient is the sum over all of "
        "them.",
    ),
    "overwritten": Code(
        "Contributions that should be added up are written over each other.",
        "Look for = where += belongs, in a loop or at repeated indices.",
    ),
    "wrong-argument": Code(
        "A right formula with the wrong tensor in it: f'(f(x)) for f'(x), another weight or "
        "activation.",
        "Is the derivative written for the input or for the output? Give it that one.",
    ),
    "wrong-variable": Code(
        "The gradient with respect to something else: the probabilities in place of the logits.",
        "One more step of the chain rule is due, from there to the argument.",
    ),
    "wrong-axis": Code(
        "A sum, mean or softmax over another axis than the forward's.",
        "Give the backward the dim of the forward; sum over the axes that were broadcast and no "
        "others.",
    ),
    "mask": Code(
        "A mask is missing, inverted, or taken from the wrong tensor.",
        "Ask the forward's input, as in x > 0, whatever grad_out is.",
    ),
    "subset": Code(
        "Right but for a set of entries that a mask, an index or a row of the forward describes.",
        "Look at what the forward does with exactly those entries.",
    ),
    "broadcast-loss": Code(
        "The gradient of a loss over all pairs: (n, 1) and (n) broadcast to (n, n).",
        "Bring prediction and target to one shape before you subtract.",
    ),
    "stale-weights": Code(
        "Computed with weights that have already been updated.",
        "Compute all gradients first and update afterwards.",
    ),
    "convention": Code(
        "The right gradient of another convention: n - 1 for n in a variance, ±1 for 0/1 labels.",
        "Take the convention of the forward.",
    ),
    # on a device mesh
    "not-a-dtensor": Code(
        "On a mesh, a gradient is a plain tensor: one rank's part, and nobody knows of what.",
        "Compute on the DTensor, or wrap what .to_local() led to: DTensor.from_local(grad, mesh, "
        "placements), with the shape of the whole.",
    ),
    "placement": Code(
        "The ranks of a mesh do not hold what a gradient's placements say.",
        "Give from_local the placements that the parts have, on every rank the same, and shape "
        "and stride of the whole: ranks may have unequal parts.",
    ),
    "collective-mismatch": Code(
        "The ranks do not call the same collectives, and one waits for the others in vain.",
        "Call each collective on every rank, in one order: none under `if rank == 0`, none in a "
        "branch that a rank's own numbers decide.",
    ),
    "missing-all-reduce": Code(
        "Each rank has summed over its own part of a sharded axis, and nobody adds up the ranks.",
        "Add up what the ranks have, once and on every rank: all_reduce it, or, where it is the "
        "gradient itself, say Partial() in place of Replicate(), and DTensor does.",
    ),
    "doubled-all-reduce": Code(
        "What every rank holds whole is added up over the ranks once more: too large by their "
        "number.",
        "Reduce once: a gradient that every rank computes from replicated tensors is Replicate().",
    ),
    "averaged-all-reduce": Code(
        "The ranks' parts are averaged where their sum is due: too small by the number of ranks.",
        "Divide by the number of ranks only if each rank's loss is a mean of its own; the loss's "
        "own mean has divided already.",
    ),
    "local-mean": Code(
        "A mean is taken over the rank's own part of a sharded axis, and all of the axis is due.",
        "Divide by the length of the whole axis, x.shape[0] and not x.to_local().shape[0], and add "
        "up; ranks may have unequal parts.",
    ),
    # rounding and the forward
    "kink": Code(
        "Exactly on a kink, another slope than PyTorch's.",
        "There two slopes meet. Where PyTorch takes one of them, a mask decides by > or >= which; "
        "where it takes the middle of both, as of abs, torch.sign does.",
    ),
    "unstable": Code(
        "An intermediate overflows in float16, where the gradient itself is representable.",
        "Multiply by the small factor first.",
    ),
    "forward": Code(
        "The forward itself disagrees with the oracle.",
        "Mend the forward first; no gradient can be judged before.",
    ),
    "witnesses": Code(
        "Autograd and finite differences disagree, or there is only one of them.",
        "Let forward and oracle compute one function, all of it seen by autograd, without a jump.",
    ),
    "not-exercised": Code(
        "Something that was not tried: a size, lines of the backward, one side of a mask in it.",
        "Add a sample that tries it, or leave out what no argument leads to.",
    ),
    "unknown": Code(
        "Wrong, and no known mistake explains it.",
        "Start from the worst entry: write out its formula by hand for the smallest shape.",
    ),
}
