"""One small problem on the CPU, in NumPy: what counts is the number of operations."""
