"""Training steps as the authors' releases compute them, for `benchmarks/steps.py`."""
