"""How many rows of a matrix are worked on at once, so that they stay in the cache meanwhile."""

BLOCK = 2**20  # numbers


def rows_at_once(width: int, blocks: int = 1) -> int:
    """How many rows of `width` numbers are so many blocks, at least one."""
    return max(1, blocks * BLOCK // max(1, width))
