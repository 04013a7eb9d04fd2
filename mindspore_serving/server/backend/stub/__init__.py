"""A backend that runs no model, for tests: NumPy stands in for it."""
