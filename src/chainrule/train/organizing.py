"""A self-organising map: units on a grid that take the places of the data, neighbours alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OptionError, ShapeError
from ..io.arrays import Array
from ..tensor import Tensor

_ROWS_AT_ONCE = 4096


class SelfOrganizingMap:
    """Units on a rectangular grid, each with a place among the data; learned without labels.

    In each pass every example goes to its nearest unit, and every unit moves to the mean of all
    examples, weighted by how near their units are to it on the grid (the batch form; order and
    rate do not matter). The neighbourhood shrinks from pass to pass. Source: Kohonen,
    Self-organizing maps (2001), section 3.6.

    Args:
        rows, columns: of the grid.
        seed: of the places that units start at where the data lie in fewer than two directions.

    Attributes:
        weights: the units' places, float64 (rows, columns, features); None before `fit`.
        history: the quantisation error after each pass.

    Raises:
        OptionError: for a grid of fewer than two units.

    Example:
        >>> x = np.random.default_rng(0).uniform(size=(500, 2))
        >>> som = SelfOrganizingMap(5, 5).fit(x)
        >>> som.weights.shape, som.units(x[:1]).shape
        ((5, 5, 2), (1, 2))
        >>> som.quantization_error(x) < 0.12, som.topographic_error(x) < 0.1
        (True, True)
    """

    def __init__(self, rows: int, columns: int, seed: int = 0) -> None:
        if rows < 1 or columns < 1 or rows * columns < 2:
            raise OptionError(
                f"SelfOrganizingMap: the grid must have two units or more; {rows} x {columns} was"
                " given"
            )
        self.rows, self.columns, self.seed = rows, columns, seed
        self.weights: Array | None = None
        self.history: list[float] = []
        places = np.indices((rows, columns)).reshape(2, -1).T
        apart = places[:, None] - places[None, :]
        self._squares = (apart**2).sum(axis=2).astype(np.float64)
        self._neighbours = abs(apart).max(axis=2) == 1

    def fit(
        self, x: Any, epochs: int = 30, radius: tuple[float, float] | None = None
    ) -> SelfOrganizingMap:
        """Learn the places of the units.

        Args:
            x: (examples, features).
            epochs: passes.
            radius: spread of the neighbourhood in the first pass and in the last, in steps of the
                grid; None is half of the longer side, and 0.5.

        Returns:
            The map.
        """
        data = self._data(x)
        first, last = radius or (max(self.rows, self.columns) / 2, 0.5)
        if not (first > 0 and last > 0 and epochs >= 1):
            raise OptionError(
                "SelfOrganizingMap: epochs must be 1 or more and both radii above 0.\n"
                f"  given: epochs={epochs}, radius={(first, last)}"
            )
        units = self._start(data)
        self.history = []
        for spread in np.geomspace(first, last, epochs):
            nearest, distance = _nearest(data, units, 1)
            self.history.append(float(np.sqrt(distance[:, 0]).mean()))
            near = np.exp(self._squares / (-2 * spread**2))
            count = np.bincount(nearest[:, 0], minlength=len(units)).astype(np.float64)
            total = np.zeros_like(units)
            np.add.at(total, nearest[:, 0], data)
            weight = near @ count
            units = np.where(
                weight[:, None] > 0, (near @ total) / np.where(weight, weight, 1)[:, None], units
            )
        self.weights = units.reshape(self.rows, self.columns, -1)
        self.history.append(self.quantization_error(data))
        return self

    def _start(self, data: Array) -> Array:
        """Units spread over the plane in which the data vary most."""
        mean = data.mean(axis=0)
        _, spread, directions = np.linalg.svd(data - mean, full_matrices=False)
        steps = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in (self.rows, self.columns)]
        grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 2)
        # The longer side of the grid lies along the direction of the largest spread.
        axes = [0, 1] if self.rows >= self.columns else [1, 0]
        units = np.tile(mean, (len(grid), 1))
        for axis, place in zip(axes, range(min(2, len(spread))), strict=False):
            length = spread[place] / np.sqrt(len(data))
            units += grid[:, axis : axis + 1] * length * directions[place]
        noise = np.random.default_rng(self.seed).normal(size=units.shape)
        return np.asarray(units + 1e-9 * data.std(axis=0).max(initial=0.0) * noise)

    def _data(self, x: Any) -> Array:
        array = np.asarray(x.detach().numpy() if isinstance(x, Tensor) else x, np.float64)
        features = None if self.weights is None else self.weights.shape[2]
        if array.ndim != 2 or not len(array):
            raise ShapeError(
                "SelfOrganizingMap: data must be (examples, features), one example or more; the"
                f" shape is {array.shape}"
            )
        if features is not None and array.shape[1] != features:
            raise ShapeError(
                f"SelfOrganizingMap: the data have {array.shape[1]} features, the map {features}"
            )
        return array

    def _fitted(self, x: Any) -> tuple[Array, Array]:
        if self.weights is None:
            raise OptionError("SelfOrganizingMap: nothing has been learned yet.\n  fix: fit(x)")
        data = self._data(x)
        return data, self.weights.reshape(self.rows * self.columns, -1)

    def units(self, x: Any) -> Array:
        """The row and column of each example's nearest unit, int64 (examples, 2)."""
        data, units = self._fitted(x)
        nearest = _nearest(data, units, 1)[0][:, 0]
        return np.stack(np.divmod(nearest, self.columns), axis=1)

    def hits(self, x: Any) -> Array:
        """How many examples each unit is the nearest of, int64 (rows, columns)."""
        data, units = self._fitted(x)
        counts = np.bincount(_nearest(data, units, 1)[0][:, 0], minlength=len(units))
        return counts.reshape(self.rows, self.columns)

    def quantization_error(self, x: Any) -> float:
        """The mean distance from examples to their nearest units."""
        data, units = self._fitted(x)
        return float(np.sqrt(_nearest(data, units, 1)[1]).mean())

    def topographic_error(self, x: Any) -> float:
        """The share of examples whose two nearest units are no neighbours on the grid.

        Source: Kiviluoto, Topology preservation in self-organizing maps (1996).
        """
        data, units = self._fitted(x)
        nearest, _ = _nearest(data, units, 2)
        return float(1 - self._neighbours[nearest[:, 0], nearest[:, 1]].mean())

    def distances(self) -> Array:
        """The mean distance of each unit to its neighbours, (rows, columns): borders stand out.

        Source: Ultsch and Siemon, Kohonen's self organizing feature maps for exploratory data
        analysis (1990), the U-matrix.
        """
        if self.weights is None:
            raise OptionError("SelfOrganizingMap: nothing has been learned yet.\n  fix: fit(x)")
        units = self.weights.reshape(self.rows * self.columns, -1)
        apart = np.sqrt(((units[:, None] - units[None, :]) ** 2).sum(axis=2))
        mean = (apart * self._neighbours).sum(axis=1) / self._neighbours.sum(axis=1)
        return np.asarray(mean.reshape(self.rows, self.columns))


def _nearest(data: Array, units: Array, count: int) -> tuple[Array, Array]:
    """The nearest units of each example and their squared distances, (examples, count) each."""
    found, squares = [], []
    for start in range(0, len(data), _ROWS_AT_ONCE):
        part = data[start : start + _ROWS_AT_ONCE]
        apart = (part**2).sum(axis=1)[:, None] - 2 * part @ units.T + (units**2).sum(axis=1)
        order = np.argsort(apart, axis=1, kind="stable")[:, :count]
        found.append(order)
        squares.append(np.take_along_axis(apart, order, axis=1))
    return np.concatenate(found), np.maximum(np.concatenate(squares), 0.0)
