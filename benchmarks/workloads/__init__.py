"""One module a row of the table, each with a `WORKLOAD`; the docstring of `Workload` says what that holds."""
