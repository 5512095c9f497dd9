"""Every op as a graph with its derivatives, and a few examples of it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import op_cases
from hypothesis import given, settings
from op_cases import CASES, Sample

import chainrule as cr
from chainrule import dtypes

# Relative to the largest value of an output, and absolute below 1.
TOLERANCE = {dtypes.float32: 1e-5, dtypes.float64: 1e-11}
SAMPLES = 3


@functools.cache
def samples(name: str) -> list[Sample]:
    """A few examples of an op, the same in every run; the first that hypothesis makes are small."""
    found: list[Sample] = []

    @settings(max_examples=40, database=None, derandomize=True)
    @given(CASES[name].sample)
    def collect(sample: Sample) -> None:
        found.append(sample)

    collect()
    fuller = sorted(found, key=lambda one: -sum(a.size for a in one.arrays(dtypes.float32)))
    return [*fuller[: SAMPLES - 1], found[0]]


def graph_of(name: str, sample: Sample, kind: dtypes.DType) -> tuple[Any, list[np.ndarray]]:
    """The op as a graph, with its derivatives where it has some."""
    case = CASES[name]
    attrs = op_cases.attributes(sample, kind)
    arrays = sample.arrays(kind)
    tensors = [cr.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]

    def run(*given: Any) -> list[Any]:
        results = [cr.Tensor(n) for n in op_cases.outputs(case, [t.node for t in given], attrs)]
        if not any(result.requires_grad for result in results):
            return results
        total = sum((r * r).sum() for r in results if r.requires_grad)
        wanted = [one for one in given if one.requires_grad]
        return results + [g for g in cr.grad(total, wanted, allow_unused=True) if g is not None]

    return cr.trace(run, *tensors).graph, arrays


def compare(found: list[Any], expected: list[Any], kind: dtypes.DType) -> None:
    scale = TOLERANCE.get(kind, 0)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        one = np.asarray(one)
        assert one.shape == other.shape and one.dtype == other.dtype
        if one.dtype.kind == "f":
            size = np.abs(other[np.isfinite(other)]).max(initial=1.0)
            np.testing.assert_allclose(one, other, rtol=scale, atol=scale * size, equal_nan=True)
        else:
            np.testing.assert_array_equal(one, other)
