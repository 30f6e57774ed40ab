"""The judge: knows no pytest, prints nothing, returns data. `verify` is its one door."""
