"""Kernels: each writes one reusable function for any strides, dtypes and elementwise bodies.

A kernel knows arrays, not graphs: operands are a dtype and strides over its domain, and what is
done at a point is a body written on the emitter. Inner extents are fixed when it is written; the
number of rows and the part that a thread does are arguments.
"""
