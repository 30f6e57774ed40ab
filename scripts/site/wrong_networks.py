"""What people write in place of a network's backward.

Network -> for each version what went wrong, the parameters, and the body or what it returns.
"""

from scripts.site.wrong_operators import Written

UNITS = (  # of the network with two units in each layer, from the inputs to the outputs' deltas
    "h1, h2 = (w1 * x1 + w3 * x2).sigmoid(), (w2 * x1 + w4 * x2).sigmoid()\n"
    "o1, o2 = (w5 * h1 + w7 * h2).sigmoid(), (w6 * h1 + w8 * h2).sigmoid()\n"
)
DELTAS = "d3 = grad_out * (o1 - y1) * o1 * (1 - o1)\nd4 = grad_out * (o2 - y2) * o2 * (1 - o2)\n"
HIDDEN = "d1 = (w5 * d3 + w6 * d4) * h1 * (1 - h1)\nd2 = (w7 * d3 + w8 * d4) * h2 * (1 - h2)\n"
EACH_WEIGHT = (
    "return (\n"
    "    w1 * d1 + w2 * d2, w3 * d1 + w4 * d2,\n"
    "    d1 * x1, d2 * x1, d1 * x2, d2 * x2,\n"
    "    d3 * h1, d4 * h1, d3 * h2, d4 * h2,\n"
    ")"
)
SCALARS = "x1, x2, y1, y2, w1, w2, w3, w4, w5, w6, w7, w8, grad_out=1.0"

LAYERS = (
    "h1 = (x @ w1.T + b1).relu()\n"
    "h2 = (h1 @ w2.T + b2).relu()\n"
    "logits = h2 @ w3.T + b3\n"
    "onehot = torch.nn.functional.one_hot(target, len(b3))\n"
)
AT_THE_LOGITS = "grad_z3 = grad_out * (logits.softmax(1) - onehot) / len(x)\n"
BELOW = "grad_z2 = grad_z3 @ w3 * (h2 > 0)\ngrad_z1 = grad_z2 @ w2 * (h1 > 0)\n"
EACH_LAYER = (
    "return (\n"
    "    grad_z1 @ w1,\n"
    "    grad_z1.T @ x, grad_z1.sum(0),\n"
    "    grad_z2.T @ h1, grad_z2.sum(0),\n"
    "    grad_z3.T @ h2, grad_z3.sum(0),\n"
    ")"
)
THREE_LAYERS = "x, w1, b1, w2, b2, w3, b3, target, grad_out=1.0"

OUTPUTS = (
    "outputs = [x]\n"
    "for w in weights:\n"
    "    outputs.append((outputs[-1] @ w).sigmoid())\n"
    "felt, grads = grad_out * (outputs[-1] - target), []\n"
    "for k in reversed(range(len(weights))):\n"
)
SLOPE = "    delta = outputs[k + 1] * (1 - outputs[k + 1]) * felt\n"
COLLECTED = "    grads.insert(0, outputs[k].T @ delta)\n"
ON = "    felt = delta @ weights[k].T\nreturn felt, tuple(grads)"
ANY_DEPTH = "x, weights, target, grad_out=1.0"

PREDICTED = "h = (x @ w1 + b1).relu()\npred = h @ w2 + b2\n"
SCORED = "grad_pred = grad_out * 2 * (pred - target[:, None]) / len(x)\n"
UNMASKED = "grad_h = grad_pred @ w2.T\n"
MASKED = "grad_h = grad_pred @ w2.T * (h > 0)\n"
BOTH_LAYERS = (
    "return (\n"
    "    grad_h @ w1.T, x.T @ grad_h, grad_h.sum(0),\n"
    "    h.T @ grad_pred, grad_pred.sum(0),\n"
    ")"
)
TWO_LAYERS = "x, w1, b1, w2, b2, target, grad_out=1.0"

NETWORKS: Written = {
    "chain": (
        (
            "The path stops at the first line: w2 is missing.",
            "x, b1, w1, w2, grad_out",
            "grad_w2 = (x * w1 + b1) * grad_out\n"
            "return w1 * grad_out, x * grad_out, grad_out, grad_w2, grad_out.clone()",
        ),
        (
            "The first line is computed again, and its b1 forgotten.",
            "x, b1, w1, w2, grad_out",
            "grad_y1, y1 = w2 * grad_out, x * w1\n"
            "return w1 * grad_y1, x * grad_y1, grad_y1, y1 * grad_out, grad_out.clone()",
        ),
        (
            "The gradients of x and w1 in the wrong order.",
            "x, b1, w1, w2, grad_out",
            "grad_y1, y1 = w2 * grad_out, x * w1 + b1\n"
            "return x * grad_y1, w1 * grad_y1, grad_y1, y1 * grad_out, grad_out.clone()",
        ),
    ),
    "computational_graph": (
        (
            "The last edge, times 3, is forgotten.",
            "b, c, grad_out",
            "grad_out.clone(), c * grad_out, b * grad_out",
        ),
        (
            "Each factor's gradient is multiplied by itself, and not by the other one.",
            "b, c, grad_out",
            "3 * grad_out, b * 3 * grad_out, c * 3 * grad_out",
        ),
    ),
    "linear_regression": (
        (
            "The mean over the points is forgotten.",
            "x, w, b, target, grad_out=1.0",
            "grad_r = grad_out * 2 * (w * x + b - target)\n"
            "return w * grad_r, grad_r @ x, grad_r.sum()",
        ),
        (
            "Target less prediction: the descent goes uphill.",
            "x, w, b, target, grad_out=1.0",
            "grad_r = grad_out * 2 * (target - (w * x + b)) / len(x)\n"
            "return w * grad_r, grad_r @ x, grad_r.sum()",
        ),
        (
            "The residuals are added up for w as they are for b, without their x.",
            "x, w, b, target, grad_out=1.0",
            "grad_r = grad_out * 2 * (w * x + b - target) / len(x)\n"
            "return w * grad_r, grad_r.sum(), grad_r.sum()",
        ),
    ),
    "logistic_regression": (
        (
            "The sigmoid's slope is multiplied in, though the loss has cancelled it.",
            "x, w, b, target, grad_out=1.0",
            "p = (x @ w + b).sigmoid()\n"
            "grad_z = grad_out * (p - target) * p * (1 - p) / len(x)\n"
            "return grad_z[:, None] * w, x.T @ grad_z, grad_z.sum()",
        ),
        (
            "The mean over the rows is forgotten.",
            "x, w, b, target, grad_out=1.0",
            "grad_z = grad_out * ((x @ w + b).sigmoid() - target)\n"
            "return grad_z[:, None] * w, x.T @ grad_z, grad_z.sum()",
        ),
    ),
    "perceptron": (
        (
            "The sigmoid's slope is forgotten.",
            "x, w, target, grad_out=1.0",
            "o = (x @ w.T).sigmoid()\n"
            "grad_z = grad_out * 2 * (o - target) / o.numel()\n"
            "return grad_z @ w, grad_z.T @ x",
        ),
        (
            "The slope is taken at the output: the sigmoid of what is one already.",
            "x, w, target, grad_out=1.0",
            "o = (x @ w.T).sigmoid()\n"
            "s = o.sigmoid()\n"
            "grad_z = grad_out * 2 * (o - target) / o.numel() * s * (1 - s)\n"
            "return grad_z @ w, grad_z.T @ x",
        ),
        (
            "The mean over all outputs is forgotten.",
            "x, w, target, grad_out=1.0",
            "o = (x @ w.T).sigmoid()\n"
            "grad_z = grad_out * 2 * (o - target) * o * (1 - o)\n"
            "return grad_z @ w, grad_z.T @ x",
        ),
    ),
    "two_layer": (
        (
            "The mask of relu is forgotten on the way back.",
            TWO_LAYERS,
            PREDICTED + SCORED + UNMASKED + BOTH_LAYERS,
        ),
        (
            "The column of predictions less the row of targets is a table, and all of it is felt.",
            TWO_LAYERS,
            PREDICTED
            + "table = grad_out * 2 * (pred - target) / len(x)\n"
            + "grad_pred = table.mean(1, keepdim=True)\n"
            + MASKED
            + BOTH_LAYERS,
        ),
        (
            "w2 takes its step before what stands below it is computed.",
            TWO_LAYERS,
            PREDICTED
            + SCORED
            + "w2 = w2 - 0.1 * h.T @ grad_pred / grad_out\n"
            + MASKED
            + BOTH_LAYERS,
        ),
    ),
    "sigmoid_mlp": (
        (
            "The sigmoid's slope is forgotten, in every layer.",
            ANY_DEPTH,
            OUTPUTS + "    delta = felt\n" + COLLECTED + ON,
        ),
        (
            "The slope is taken at the output: the sigmoid of what is one already.",
            ANY_DEPTH,
            OUTPUTS
            + "    s = outputs[k + 1].sigmoid()\n"
            + "    delta = s * (1 - s) * felt\n"
            + COLLECTED
            + ON,
        ),
        (
            "Target less output: the descent goes uphill.",
            ANY_DEPTH,
            OUTPUTS.replace("outputs[-1] - target", "target - outputs[-1]")
            + SLOPE
            + COLLECTED
            + ON,
        ),
        (
            "The layers are walked from the last to the first, and their gradients come out so.",
            ANY_DEPTH,
            OUTPUTS + SLOPE + "    grads.append(outputs[k].T @ delta)\n" + ON,
        ),
    ),
    "scalar_net": (
        (
            "A hidden unit moves both outputs, and only what the first one feels is told to it.",
            SCALARS,
            UNITS
            + DELTAS
            + HIDDEN.replace(" + w6 * d4", "").replace(" + w8 * d4", "")
            + EACH_WEIGHT,
        ),
        (
            "The slope of the hidden units is forgotten.",
            SCALARS,
            UNITS
            + DELTAS
            + HIDDEN.replace(" * h1 * (1 - h1)", "").replace(" * h2 * (1 - h2)", "")
            + EACH_WEIGHT,
        ),
        (
            "Target less output: the descent goes uphill.",
            SCALARS,
            UNITS
            + DELTAS.replace("o1 - y1", "y1 - o1").replace("o2 - y2", "y2 - o2")
            + HIDDEN
            + EACH_WEIGHT,
        ),
    ),
    "classifier": (
        (
            "The masks of both relus are forgotten on the way back.",
            THREE_LAYERS,
            LAYERS
            + AT_THE_LOGITS
            + BELOW.replace(" * (h2 > 0)", "").replace(" * (h1 > 0)", "")
            + EACH_LAYER,
        ),
        (
            "The mean over the batch is forgotten.",
            THREE_LAYERS,
            LAYERS + AT_THE_LOGITS.replace(" / len(x)", "") + BELOW + EACH_LAYER,
        ),
        (
            "w3 takes its step before the layers below it are computed.",
            THREE_LAYERS,
            LAYERS
            + AT_THE_LOGITS
            + "w3 = w3 - 0.1 * grad_z3.T @ h2 / grad_out\n"
            + BELOW
            + EACH_LAYER,
        ),
        (
            "The weights lie as (out, in), and the last one's gradient as (in, out).",
            THREE_LAYERS,
            LAYERS + AT_THE_LOGITS + BELOW + EACH_LAYER.replace("grad_z3.T @ h2", "h2.T @ grad_z3"),
        ),
    ),
    "linear_cross_entropy": (
        (
            "The mean over the rows is forgotten.",
            "x, w, target, grad_out=1.0",
            "onehot = torch.nn.functional.one_hot(target, len(w))\n"
            "grad_z = grad_out * ((x @ w.T).softmax(1) - onehot)\n"
            "return grad_z @ w, grad_z.T @ x",
        ),
        (
            "The probabilities alone: the right class is not taken off.",
            "x, w, target, grad_out=1.0",
            "grad_z = grad_out * (x @ w.T).softmax(1) / len(x)\nreturn grad_z @ w, grad_z.T @ x",
        ),
        (
            "w lies as (classes, inputs), and its gradient the other way round.",
            "x, w, target, grad_out=1.0",
            "onehot = torch.nn.functional.one_hot(target, len(w))\n"
            "grad_z = grad_out * ((x @ w.T).softmax(1) - onehot) / len(x)\n"
            "return grad_z @ w, x.T @ grad_z",
        ),
    ),
}
