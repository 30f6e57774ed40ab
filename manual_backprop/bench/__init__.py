"""Hand-written backwards against autograd and torch.compile: time, memory and error, side by side.

Nothing is timed before its values are right, and opponents take turns in every round, so that what
else the machine does meets all of them alike.
"""
