"""The case table: one module a file of `tracejit.ops`, each with a list `CASES` of rows; test_rules.py runs them."""
