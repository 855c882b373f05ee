"""The case table: a module for each of `tracejit.ops`, with a list `CASES`; test_rules.py runs them."""
