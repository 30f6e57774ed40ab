"""What a run may be told; importing it does not import torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from manual_backprop.commands import DTYPES

Gradient = Literal["hand", "onednn", "compiled", "composed", "autograd"]
Optimizer = Literal["sgd", "momentum", "adam"]
LARGEST_SEED = 2**63 - 1
LARGEST_LR = 1000.0  # ten times it, adam's first step, is a number in float16 too
LEARNING_RATES: dict[Optimizer, float] = {"sgd": 0.1, "momentum": 0.01, "adam": 0.001}
DATA = ("subset", "full")
CHECKPOINT, HISTORY = "checkpoint.pt", "history.json"  # what a run leaves in its folder
CHOICES = {"optimizer": get_args(Optimizer), "gradient": get_args(Gradient), "dtype": DTYPES}


@dataclass(frozen=True)
class Options:
    """All that the trained weights depend on, beside the data and the machine.

    Attributes:
        epochs: how often each image is learned from.
        batch_size: images per step; the last step of an epoch takes what is left.
        lr: learning rate, above 0 and at most 1000.
        optimizer: what moves the weights; momentum is 0.9, and adam has PyTorch's own betas.
        gradient: by hand in kept memory (`Step`), by oneDNN's products (`OneDnnStep`) or as one
            graph of torch.compile (`OneGraph`), composed of the operators' own backwards, or by
            torch.autograd. oneDNN's are for plain sgd in float32 on the CPU.
        relu_logits: whether a relu comes after the last layer too.
        device: as in "cpu" and "cuda:1".
        dtype: of weights, images and gradients.
        seed: of the first weights and of the order of the images; from 0, below 2⁶³.
        hidden: sizes of the two hidden layers.

    Raises:
        ValueError: an option has no such value.
    """

    epochs: int = 10
    batch_size: int = 200
    lr: float = LEARNING_RATES["sgd"]
    optimizer: Optimizer = "sgd"
    gradient: Gradient = "hand"
    relu_logits: bool = False
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    hidden: tuple[int, int] = (200, 200)

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"no {name} {value!r}; there are {', '.join(known)}")
        for name in ("epochs", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}; it is at least 1")
        own = (self.optimizer, self.dtype, self.device)
        if self.gradient == "onednn" and own != ("sgd", "float32", "cpu"):
            raise ValueError(
                "gradient onednn is for plain sgd in float32 on the cpu, and this is "
                f"{self.optimizer} in {self.dtype} on {self.device}; leave it at hand"
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"seed is {self.seed}; it is from 0 to {LARGEST_SEED}")
        if not 0 < self.lr <= LARGEST_LR:
            raise ValueError(
                f"lr is {self.lr}; a learning rate is above 0 and at most {LARGEST_LR:g}"
            )


ARTICLE = Options(lr=0.01, relu_logits=True)  # row D9 of data/articles.json, to the letter
