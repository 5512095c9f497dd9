"""Speed beside other libraries, measured in one run: `python -m benchmarks`."""
