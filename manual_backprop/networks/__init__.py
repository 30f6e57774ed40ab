"""Networks: the anatomy of an operator, but nothing new is derived; backwards are composed."""
