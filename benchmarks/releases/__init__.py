"""What the authors' releases compute in a training step, for `benchmarks/steps.py`."""
