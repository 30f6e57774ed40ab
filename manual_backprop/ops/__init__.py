"""One file per operator. Adding a file adds the operator: nothing else is edited."""
