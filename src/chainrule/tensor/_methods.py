"""Methods that are functions of other files, imported at their first call, and in-place forms."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ._handle import array_leaf
from ._reduce import Reduced

Method = Callable[..., Any]


def _method(module: str, name: str) -> Method:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = getattr(importlib.import_module(f".{module}", __package__), name)
        return function(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"``chainrule.{name}(self, ...)``, as a method."
    return method


def _in_place(name: str, reshapes: bool = False) -> Method:
    """The form with an underscore: the handle gets the result's node."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._check_in_place(f"{name}_")
        result = getattr(self, name)(*args, **kwargs)
        if result.shape != self.shape and not reshapes:
            raise ShapeError(
                f"{name}_ cannot change a tensor's shape from {tuple(self.shape)} to"
                f" {tuple(result.shape)}.\n  fix: use the form that is not in place"
            )
        if result.dtype is not self.dtype:
            if result.dtype.category > self.dtype.category:
                raise DTypeError(
                    f"{name}_: a result of {result.dtype} cannot be written into a tensor of"
                    f" {self.dtype}.\n  fix: convert the tensor first, for example x = x.float()"
                )
            result = result.type(self.dtype)
        self._rebind(result.node)
        return self

    method.__name__ = f"{name}_"
    method.__doc__ = f":meth:`{name}`, in place."
    return method


def _pointwise(name: str) -> Method:
    return _method("_pointwise", name)


def _arrange(name: str) -> Method:
    return _method("_arrange", name)


def _more(name: str) -> Method:
    return _method("_more", name)


def _statistics(name: str) -> Method:
    return _method("_statistics", name)


class Named(Reduced):
    """The rest of PyTorch's methods."""

    __slots__ = ()

    sort, argsort, topk, cumsum = map(_more, ("sort", "argsort", "topk", "cumsum"))
    tril, triu, outer, prod = map(_more, ("tril", "triu", "outer", "prod"))
    scatter, scatter_add, nonzero = map(_more, ("scatter", "scatter_add", "nonzero"))
    masked_select, bincount = map(_more, ("masked_select", "bincount"))
    isnan, isinf, isfinite = map(_more, ("isnan", "isinf", "isfinite"))
    allclose, equal, roll, multinomial = map(_more, ("allclose", "equal", "roll", "multinomial"))
    ger = outer

    log2, log10, exp2, rsqrt = map(_pointwise, ("log2", "log10", "exp2", "rsqrt"))
    round, trunc, frac, tan = map(_pointwise, ("round", "trunc", "frac", "tan"))
    sinh, cosh, logit, lerp = map(_pointwise, ("sinh", "cosh", "logit", "lerp"))
    addcmul, addcdiv, fmod = map(_pointwise, ("addcmul", "addcdiv", "fmod"))
    remainder, floor_divide = map(_pointwise, ("remainder", "floor_divide"))
    hypot, logaddexp, logical_xor = map(_pointwise, ("hypot", "logaddexp", "logical_xor"))
    clamp_min, clamp_max, isclose = map(_pointwise, ("clamp_min", "clamp_max", "isclose"))
    nan_to_num = _pointwise("nan_to_num")

    ravel, narrow, select, movedim = map(_arrange, ("ravel", "narrow", "select", "movedim"))
    tile, repeat_interleave = map(_arrange, ("tile", "repeat_interleave"))
    fliplr, flipud, diagonal, diag = map(_arrange, ("fliplr", "flipud", "diagonal", "diag"))
    index_add, index_fill, take = map(_arrange, ("index_add", "index_fill", "take"))
    take_along_dim, diff, argwhere = map(_arrange, ("take_along_dim", "diff", "argwhere"))
    trace = _arrange("matrix_trace")
    moveaxis = movedim

    kthvalue, median, unique = map(_statistics, ("kthvalue", "median", "unique"))
    count_nonzero, aminmax = map(_statistics, ("count_nonzero", "aminmax"))
    quantile, cumprod, mv = map(_statistics, ("quantile", "cumprod", "mv"))
    inner, addmm, dist = map(_statistics, ("inner", "addmm", "dist"))
    bernoulli = _statistics("bernoulli")

    subtract, multiply, divide = Reduced.sub, Reduced.mul, Reduced.div
    true_divide, negative, absolute = Reduced.div, Reduced.neg, Reduced.abs
    nelement, ndimension = Reduced.numel, Reduced.dim

    pow_, neg_, abs_, sign_ = map(_in_place, ("pow", "neg", "abs", "sign"))
    exp_, log_, sqrt_, rsqrt_ = map(_in_place, ("exp", "log", "sqrt", "rsqrt"))
    square_, reciprocal_, floor_ = map(_in_place, ("square", "reciprocal", "floor"))
    ceil_, round_, trunc_, sin_ = map(_in_place, ("ceil", "round", "trunc", "sin"))
    cos_, tanh_, sigmoid_, relu_ = map(_in_place, ("cos", "tanh", "sigmoid", "relu"))
    clamp_, clamp_min_, clamp_max_ = map(_in_place, ("clamp", "clamp_min", "clamp_max"))
    lerp_, addcmul_, addcdiv_ = map(_in_place, ("lerp", "addcmul", "addcdiv"))
    scatter_, scatter_add_ = map(_in_place, ("scatter", "scatter_add"))
    index_add_, index_fill_ = map(_in_place, ("index_add", "index_fill"))
    tril_, triu_, nan_to_num_ = map(_in_place, ("tril", "triu", "nan_to_num"))
    clip_ = clamp_
    squeeze_, unsqueeze_ = _in_place("squeeze", True), _in_place("unsqueeze", True)
    t_, transpose_ = _in_place("t", True), _in_place("transpose", True)

    def __ipow__(self, other: Any) -> Any:
        return self.pow_(other)

    def __ifloordiv__(self, other: Any) -> Any:
        return _in_place("floor_divide")(self, other)

    def __imod__(self, other: Any) -> Any:
        return _in_place("remainder")(self, other)

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    @property
    def is_cuda(self) -> bool:
        """False: eager values live on the host."""
        return False

    @property
    def H(self) -> Any:
        """The transpose of a matrix; numbers are real here."""
        return self.t()

    def element_size(self) -> int:
        """The bytes of one element."""
        return int(self.dtype.itemsize)

    def byte(self) -> Any:
        """uint8."""
        return self.type("uint8")

    def where(self, condition: Any, other: Any) -> Any:
        """These elements where the condition holds, else ``other``."""
        function = importlib.import_module("._functions", __package__).where
        return function(condition, self, other)

    def pin_memory(self, device: Any = None) -> Any:
        """The tensor: the engine that runs on a GPU copies it there by itself."""
        return self

    def share_memory_(self) -> Any:
        """The tensor; a process started by fork has its own copy."""
        return self

    def new_tensor(self, data: Any, dtype: Any = None, requires_grad: bool = False) -> Any:
        """A tensor of data, in this one's dtype."""
        make = importlib.import_module("._tensor", __package__).tensor
        return make(data, dtype=dtype or self.dtype, requires_grad=requires_grad)

    def _made(self, name: str, *args: Any, **options: Any) -> Any:
        options["dtype"] = options.get("dtype") or self.dtype
        return getattr(importlib.import_module("._create", __package__), name)(*args, **options)

    def new_zeros(self, *size: Any, **options: Any) -> Any:
        """Zeros of a shape, in this tensor's dtype."""
        return self._made("zeros", *size, **options)

    def new_ones(self, *size: Any, **options: Any) -> Any:
        """Ones of a shape, in this tensor's dtype."""
        return self._made("ones", *size, **options)

    def new_empty(self, *size: Any, **options: Any) -> Any:
        """Zeros of a shape, in this tensor's dtype."""
        return self._made("zeros", *size, **options)

    def new_full(self, size: Any, fill_value: Any, **options: Any) -> Any:
        """One number everywhere in a shape, in this tensor's dtype."""
        return self._made("full", size, fill_value, **options)

    def _drawn(self, what: str, draw: Callable[[Any, tuple[int, ...]], Any], source: Any) -> Any:
        self._check_in_place(what)
        random = importlib.import_module("._random", __package__)
        drawn = draw(source or random.DEFAULT, tuple(self.shape))
        self._rebind(drawn.type(self.dtype).detach().node)
        return self

    def uniform_(self, a: Any = 0.0, b: Any = 1.0, *, generator: Any = None) -> Any:
        """Uniform numbers in [a, b), in place."""
        return self._drawn("uniform_", lambda g, n: g.uniform(n) * (b - a) + a, generator)

    def normal_(self, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Any:
        """Normal numbers, in place."""
        return self._drawn("normal_", lambda g, n: g.normal(n) * std + mean, generator)

    def exponential_(self, lambd: Any = 1.0, *, generator: Any = None) -> Any:
        """Exponentially distributed numbers of a rate, in place."""
        return self._drawn(
            "exponential_", lambda g, n: -((-g.uniform(n)).log1p()) / lambd, generator
        )

    def bernoulli_(self, p: Any = 0.5, *, generator: Any = None) -> Any:
        """1 with a probability, else 0, in place."""
        return self._drawn("bernoulli_", lambda g, n: g.uniform(n) < p, generator)

    def random_(self, low: Any = 0, high: Any = None, *, generator: Any = None) -> Any:
        """Whole numbers from ``low`` up to but not including ``high``, in place.

        One number alone is the upper end; with none, numbers of up to 24 bits (uint8: 8 bits).
        """
        if high is None:
            low, high = 0, low or (256 if self.element_size() == 1 else 2**24)
        draw = importlib.import_module("._random", __package__).randint
        return self._drawn(
            "random_", lambda g, n: draw(int(low), int(high), n, generator=g), generator
        )

    def fill_diagonal_(self, fill_value: Any) -> Any:
        """One number on the diagonal of a matrix, in place."""
        self._check_in_place("fill_diagonal_")
        if self.ndim != 2:
            raise ShapeError(f"fill_diagonal_ takes a matrix; given {tuple(self.shape)}")
        diagonal = self._new(array_leaf(np.eye(*self.shape, dtype=np.bool_)))
        self._rebind(self.masked_fill(diagonal, fill_value).node)
        return self
