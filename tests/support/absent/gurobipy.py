"""In the place of gurobipy, for `make test-without-gurobi`: the tests then run as if it were not installed."""

raise ImportError("hidden from this run of the tests")
