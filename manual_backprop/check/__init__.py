"""A learner's own file under the judge, in a process of its own."""
