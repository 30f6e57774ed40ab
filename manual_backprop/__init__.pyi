# Written by `python -m scripts.make_stub`.
from manual_backprop.for_autograd import as_custom_op as as_custom_op
from manual_backprop.for_autograd import as_function as as_function
from manual_backprop.judge.budget import Budget as Budget
from manual_backprop.judge.budget import rounding_budget as rounding_budget
from manual_backprop.judge.function import verify_function as verify_function
from manual_backprop.judge.sharded.ranks import MeshError as MeshError
from manual_backprop.judge.sharded.verify import verify_sharded as verify_sharded
from manual_backprop.judge.verdict import Finding as Finding
from manual_backprop.judge.verdict import Verdict as Verdict
from manual_backprop.judge.verdict import WrongGradient as WrongGradient
from manual_backprop.judge.verify import verify as verify
from manual_backprop.networks.chain import back_chain as back_chain
from manual_backprop.networks.chain import back_chain_paths as back_chain_paths
from manual_backprop.networks.chain import chain as chain
from manual_backprop.networks.chain import chain_edges as chain_edges
from manual_backprop.networks.classifier import back_classifier as back_classifier
from manual_backprop.networks.classifier import back_classifier_layers as back_classifier_layers
from manual_backprop.networks.classifier import classifier as classifier
from manual_backprop.networks.classifier import classifier_layers as classifier_layers
from manual_backprop.networks.computational_graph import (
    back_computational_graph as back_computational_graph,
)
from manual_backprop.networks.computational_graph import computational_graph as computational_graph
from manual_backprop.networks.computational_graph import (
    computational_graph_edges as computational_graph_edges,
)
from manual_backprop.networks.linear_cross_entropy import (
    back_linear_cross_entropy as back_linear_cross_entropy,
)
from manual_backprop.networks.linear_cross_entropy import (
    linear_cross_entropy as linear_cross_entropy,
)
from manual_backprop.networks.linear_cross_entropy import (
    linear_cross_entropy_and_grad as linear_cross_entropy_and_grad,
)
from manual_backprop.networks.linear_regression import (
    back_linear_regression as back_linear_regression,
)
from manual_backprop.networks.linear_regression import linear_regression as linear_regression
from manual_backprop.networks.logistic_regression import (
    back_logistic_regression as back_logistic_regression,
)
from manual_backprop.networks.logistic_regression import logistic_regression as logistic_regression
from manual_backprop.networks.perceptron import back_perceptron as back_perceptron
from manual_backprop.networks.perceptron import perceptron as perceptron
from manual_backprop.networks.scalar_net import back_scalar_net as back_scalar_net
from manual_backprop.networks.scalar_net import scalar_net as scalar_net
from manual_backprop.networks.scalar_net import scalar_net_units as scalar_net_units
from manual_backprop.networks.sigmoid_mlp import back_sigmoid_mlp as back_sigmoid_mlp
from manual_backprop.networks.sigmoid_mlp import back_sigmoid_mlp_layers as back_sigmoid_mlp_layers
from manual_backprop.networks.sigmoid_mlp import sigmoid_mlp as sigmoid_mlp
from manual_backprop.networks.two_layer import back_two_layer as back_two_layer
from manual_backprop.networks.two_layer import back_two_layer_broadcast as back_two_layer_broadcast
from manual_backprop.networks.two_layer import two_layer as two_layer
from manual_backprop.op import BadOp as BadOp
from manual_backprop.op import Op as Op
from manual_backprop.ops.add_constant import add_constant as add_constant
from manual_backprop.ops.add_constant import back_add_constant as back_add_constant
from manual_backprop.ops.arccos import arccos as arccos
from manual_backprop.ops.arccos import back_arccos as back_arccos
from manual_backprop.ops.arccos import back_arccos_from_out as back_arccos_from_out
from manual_backprop.ops.arcsin import arcsin as arcsin
from manual_backprop.ops.arcsin import back_arcsin as back_arcsin
from manual_backprop.ops.arcsin import back_arcsin_from_out as back_arcsin_from_out
from manual_backprop.ops.arctan import arctan as arctan
from manual_backprop.ops.arctan import back_arctan as back_arctan
from manual_backprop.ops.arctan import back_arctan_hypot as back_arctan_hypot
from manual_backprop.ops.batch_norm import back_batch_norm as back_batch_norm
from manual_backprop.ops.batch_norm import back_batch_norm_steps as back_batch_norm_steps
from manual_backprop.ops.batch_norm import batch_norm as batch_norm
from manual_backprop.ops.bce import back_bce as back_bce
from manual_backprop.ops.bce import bce as bce
from manual_backprop.ops.bce_with_logits import back_bce_with_logits as back_bce_with_logits
from manual_backprop.ops.bce_with_logits import (
    back_bce_with_logits_terms as back_bce_with_logits_terms,
)
from manual_backprop.ops.bce_with_logits import bce_with_logits as bce_with_logits
from manual_backprop.ops.cos import back_cos as back_cos
from manual_backprop.ops.cos import back_cos_ as back_cos_
from manual_backprop.ops.cos import cos as cos
from manual_backprop.ops.cross_entropy import back_cross_entropy as back_cross_entropy
from manual_backprop.ops.cross_entropy import back_cross_entropy_steps as back_cross_entropy_steps
from manual_backprop.ops.cross_entropy import (
    back_three_step_cross_entropy as back_three_step_cross_entropy,
)
from manual_backprop.ops.cross_entropy import cross_entropy as cross_entropy
from manual_backprop.ops.cross_entropy import cross_entropy_and_grad_ as cross_entropy_and_grad_
from manual_backprop.ops.cross_entropy import losses_and_grad_ as losses_and_grad_
from manual_backprop.ops.cross_entropy import three_step_cross_entropy as three_step_cross_entropy
from manual_backprop.ops.cross_entropy_soft import (
    back_cross_entropy_soft as back_cross_entropy_soft,
)
from manual_backprop.ops.cross_entropy_soft import (
    back_cross_entropy_soft_steps as back_cross_entropy_soft_steps,
)
from manual_backprop.ops.cross_entropy_soft import cross_entropy_soft as cross_entropy_soft
from manual_backprop.ops.entropy import back_entropy as back_entropy
from manual_backprop.ops.entropy import entropy as entropy
from manual_backprop.ops.exp import back_exp as back_exp
from manual_backprop.ops.exp import back_exp_ as back_exp_
from manual_backprop.ops.exp import exp as exp
from manual_backprop.ops.exp_base import back_exp_base as back_exp_base
from manual_backprop.ops.exp_base import exp_base as exp_base
from manual_backprop.ops.himmelblau import back_himmelblau as back_himmelblau
from manual_backprop.ops.himmelblau import himmelblau as himmelblau
from manual_backprop.ops.lin import back_lin as back_lin
from manual_backprop.ops.lin import back_lin_broadcast as back_lin_broadcast
from manual_backprop.ops.lin import back_lin_einsum as back_lin_einsum
from manual_backprop.ops.lin import back_lin_into as back_lin_into
from manual_backprop.ops.lin import lin as lin
from manual_backprop.ops.log import back_log as back_log
from manual_backprop.ops.log import back_log_ as back_log_
from manual_backprop.ops.log import log as log
from manual_backprop.ops.log_base import back_log_base as back_log_base
from manual_backprop.ops.log_base import log_base as log_base
from manual_backprop.ops.log_softmax import back_log_softmax as back_log_softmax
from manual_backprop.ops.log_softmax import back_log_softmax_ as back_log_softmax_
from manual_backprop.ops.log_softmax import back_log_softmax_from_x as back_log_softmax_from_x
from manual_backprop.ops.log_softmax import log_softmax as log_softmax
from manual_backprop.ops.mse import back_mse as back_mse
from manual_backprop.ops.mse import back_mse_steps as back_mse_steps
from manual_backprop.ops.mse import mse as mse
from manual_backprop.ops.mse import mse_and_grad_ as mse_and_grad_
from manual_backprop.ops.nll import back_nll as back_nll
from manual_backprop.ops.nll import back_nll_scatter as back_nll_scatter
from manual_backprop.ops.nll import back_reduce_kept as back_reduce_kept
from manual_backprop.ops.nll import nll as nll
from manual_backprop.ops.nll import reduce_kept as reduce_kept
from manual_backprop.ops.nll import seen_classes as seen_classes
from manual_backprop.ops.norm import back_norm as back_norm
from manual_backprop.ops.norm import back_norm_from_r as back_norm_from_r
from manual_backprop.ops.norm import norm as norm
from manual_backprop.ops.power import back_power as back_power
from manual_backprop.ops.power import back_power_ as back_power_
from manual_backprop.ops.power import power as power
from manual_backprop.ops.relu import back_relu as back_relu
from manual_backprop.ops.relu import back_relu_ as back_relu_
from manual_backprop.ops.relu import back_relu_from_out as back_relu_from_out
from manual_backprop.ops.relu import relu as relu
from manual_backprop.ops.shifted_square import back_shifted_square as back_shifted_square
from manual_backprop.ops.shifted_square import (
    back_shifted_square_steps as back_shifted_square_steps,
)
from manual_backprop.ops.shifted_square import shifted_square as shifted_square
from manual_backprop.ops.sigmoid import back_sigmoid as back_sigmoid
from manual_backprop.ops.sigmoid import back_sigmoid_ as back_sigmoid_
from manual_backprop.ops.sigmoid import back_sigmoid_from_x as back_sigmoid_from_x
from manual_backprop.ops.sigmoid import sigmoid as sigmoid
from manual_backprop.ops.sin import back_sin as back_sin
from manual_backprop.ops.sin import back_sin_ as back_sin_
from manual_backprop.ops.sin import sin as sin
from manual_backprop.ops.softmax import back_softmax as back_softmax
from manual_backprop.ops.softmax import back_softmax_ as back_softmax_
from manual_backprop.ops.softmax import back_softmax_jacobian as back_softmax_jacobian
from manual_backprop.ops.softmax import softmax as softmax
from manual_backprop.ops.softmax import softmax_jacobian as softmax_jacobian
from manual_backprop.ops.sqrt import back_sqrt as back_sqrt
from manual_backprop.ops.sqrt import back_sqrt_from_x as back_sqrt_from_x
from manual_backprop.ops.sqrt import sqrt as sqrt
from manual_backprop.ops.tan import back_tan as back_tan
from manual_backprop.ops.tan import back_tan_from_x as back_tan_from_x
from manual_backprop.ops.tan import tan as tan
from manual_backprop.ops.tanh import back_tanh as back_tanh
from manual_backprop.ops.tanh import back_tanh_ as back_tanh_
from manual_backprop.ops.tanh import back_tanh_from_x as back_tanh_from_x
from manual_backprop.ops.tanh import tanh as tanh
from manual_backprop.registry import OPS as OPS

__version__: str
HOMES: dict[str, str]
