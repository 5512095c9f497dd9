"""One step of a recurrent layer, on nodes: what the cells and the loops over time share.

Notation, for a batch of N: h the state before the step, (N, H); p the input's share of all gates,
`x W_ihᵀ + b`, (N, gates H), which a loop computes for all its steps at once; w the weight of the
state, (gates H, H).
Sources: Elman, Finding structure in time (1990); Hochreiter and Schmidhuber, Long short-term memory
(1997), with the forget gate of Gers (2000); Cho et al., Learning phrase representations (2014), in
the form that PyTorch computes.
"""

from __future__ import annotations

from typing import Any


def gates_of(node: Any, count: int) -> list[Any]:
    """Return the equal parts of the last axis of (N, count H)."""
    width = node.shape[-1] // count
    steps = (1,) * node.ndim
    front = node.shape[:-1]
    none = (0,) * len(front)
    return [node.slice((*none, k * width), (*front, (k + 1) * width), steps) for k in range(count)]


def simple_step(h: Any, p: Any, w: Any, relu: bool) -> Any:
    """Return `tanh(p + h wᵀ)`, or the same with relu: the next state."""
    total = p + h.matmul(w, False, True)
    return total.relu() if relu else total.tanh()


def lstm_step(h: Any, c: Any, p: Any, w: Any, shrink: Any = None) -> tuple[Any, Any]:
    """Return the next h and c.

    With the gates i, f, g, o of `p + h wᵀ`: `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')`,
    and with `shrink`, (outputs, H), `h' = σ(o) tanh(c') shrinkᵀ`.
    """
    enter, keep, new, show = gates_of(p + h.matmul(w, False, True), 4)
    c = keep.sigmoid() * c + enter.sigmoid() * new.tanh()
    h = show.sigmoid() * c.tanh()
    return (h if shrink is None else h.matmul(shrink, False, True)), c


def gru_step(h: Any, p: Any, w: Any, b: Any = None) -> Any:
    """Return the next h.

    With the parts r, z, n of p and of `q = h wᵀ + b`: `r = σ(p_r + q_r)`, `z = σ(p_z + q_z)`,
    `n = tanh(p_n + r q_n)`, `h' = n + z (h - n)`.
    """
    q = h.matmul(w, False, True)
    if b is not None:
        q = q + b
    (reset_p, keep_p, new_p), (reset_q, keep_q, new_q) = gates_of(p, 3), gates_of(q, 3)
    reset, keep = (reset_p + reset_q).sigmoid(), (keep_p + keep_q).sigmoid()
    new = (new_p + reset * new_q).tanh()
    return new + keep * (h - new)
