"""Training by gradients that are written by hand; torch.autograd stands by only to be compared."""
