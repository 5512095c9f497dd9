"""Training and inference beside PyTorch, JAX and scikit-learn: `python -m benchmarks speed`."""
