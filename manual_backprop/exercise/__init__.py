"""Exercises: an operator's file without its backward."""
