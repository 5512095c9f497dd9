"""Counter-based random numbers: a function of seed, stream name and counter.

Philox 4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). Every
engine gives the same bits, whatever order or number of threads they are made in.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import OptionError

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
# Blocks made at once: the working set stays in the second-level cache.
_CHUNK = 8192
# From this length on, permutations sort halves of their keys by counting.
_LONG = 4096

Array = np.ndarray[Any, Any]


def philox_blocks(key: Array, first: int, count: int) -> Array:
    """``count`` blocks of four 32-bit words, from block number ``first``.

    Args:
        key: uint32[2]; or several keys, uint32[keys, 2].
        first: number of the first block, 0 or more; blocks are numbered by a 64-bit counter.
        count: how many blocks.

    Returns:
        uint32[count, 4]; of several keys uint32[keys, count, 4].

    Example:
        >>> hex(philox_blocks(np.zeros(2, np.uint32), 0, 1)[0, 0])
        '0x6627e8d5'
    """
    if key.ndim == 2:
        return _blocks_of_keys(key, first, count)
    out = np.empty((count, 4), np.uint32)
    for start in range(0, count, _CHUNK):
        stop = min(start + _CHUNK, count)
        _rounds(np.uint64(key[0]), np.uint64(key[1]), first + start, out[start:stop])
    return out


def _blocks_of_keys(keys: Array, first: int, count: int) -> Array:
    """As :func:`philox_blocks`, for several keys: as many at once as stay in the cache."""
    out = np.empty((len(keys), count, 4), np.uint32)
    wide = keys.astype(np.uint64)[:, :, None]
    length = max(1, min(count, _CHUNK))
    several = _CHUNK // length
    for low in range(0, len(keys), several):
        part = slice(low, low + several)
        for start in range(0, count, length):
            blocks = out[part, start : start + length]
            _rounds(wide[part, 0], wide[part, 1], first + start, blocks)
    return out


def _rounds(k0: Any, k1: Any, first: int, out: Array) -> None:
    """Fill blocks (..., count, 4); the words of the key are uint64, or uint64[keys, 1]."""
    counter = np.arange(out.shape[-2], dtype=np.uint64) + np.uint64(first)
    counter = np.broadcast_to(counter, out.shape[:-1])
    c0, c1 = counter & _LOW, counter >> _HALF
    c2, c3 = np.zeros_like(c0), np.zeros_like(c0)
    for _ in range(10):
        np.multiply(c0, _M0, out=c0)
        np.multiply(c2, _M1, out=c2)
        high0, high1 = c0 >> _HALF, c2 >> _HALF
        c0 &= _LOW
        c2 &= _LOW
        high1 ^= c1
        high1 ^= k0
        high0 ^= c3
        high0 ^= k1
        c0, c1, c2, c3 = high1, c2, high0, c0
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    out[..., 0], out[..., 1], out[..., 2], out[..., 3] = c0, c1, c2, c3


def stream_key(seed: int, stream: str) -> Array:
    """The key of a named stream under a seed: uint32[2].

    Args:
        seed: a whole number of at most 64 bits, 0 or more.
        stream: any text; streams of different names are independent.

    Raises:
        OptionError: when the seed is negative or too large.

    Example:
        >>> stream_key(0, "shuffle").dtype, bool((stream_key(0, "a") == stream_key(0, "b")).all())
        (dtype('uint32'), False)
    """
    if not 0 <= seed < 2**64:
        raise OptionError(
            f"a seed must be a whole number from 0 to 2**64 - 1.\n  given: {seed}\n  fix: seed=0"
        )
    return _key(int(seed), stream).copy()


@functools.lru_cache(maxsize=256)
def _key(seed: int, stream: str) -> Array:
    """The key; asked for again at each fit of a trainer, so the newest are kept."""
    return stream_keys([seed], stream)[0]  # type: ignore[no-any-return]


def stream_keys(seeds: Sequence[int], stream: str) -> Array:
    """The keys of a named stream under several seeds: uint32[seeds, 2]; see :func:`stream_key`.

    Example:
        >>> bool((stream_keys([3, 4], "a")[1] == stream_key(4, "a")).all())
        True
    """
    words = np.array([[seed & 0xFFFFFFFF, seed >> 32] for seed in seeds], dtype=np.uint32)
    name = stream.encode()
    # The name is folded in, eight bytes at a time; its length goes first, so that no name's
    # bytes begin another's.
    parts = [name[start : start + 8] for start in range(0, len(name), 8)]
    for number in (len(name), *(int.from_bytes(part, "little") for part in parts)):
        words = philox_blocks(words, number, 1)[:, 0, :2].copy()
    return words


def bits(key: Array, counter: int, size: int) -> Array:
    """``size`` words of 32 bits: word i is word i % 4 of block counter + i // 4.

    Example:
        >>> bits(stream_key(0, "x"), 0, 6).shape
        (6,)
    """
    blocks = philox_blocks(key, counter, -(-size // 4))
    return blocks.reshape(-1)[:size]


def blocks_of(size: int) -> int:
    """How many blocks a draw of ``size`` words takes from a counter."""
    return -(-size // 4)


def uniforms(key: Array, counter: int, size: int) -> Array:
    """float32[size], uniform in [0, 1): 24 random bits each, so every engine has the same.

    Example:
        >>> u = uniforms(stream_key(0, "x"), 0, 1000)
        >>> bool((u >= 0).all() and (u < 1).all())
        True
    """
    return (bits(key, counter, size) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def normals(key: Array, counter: int, size: int) -> Array:
    """float32[size], standard normal, by Box and Muller's transform of pairs of uniforms.

    Draw i uses words i and i + size, so it takes ``blocks_of(2 * size)`` blocks.
    """
    u = uniforms(key, counter, 2 * size).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log1p(-u[:size]))
    return (radius * np.cos(2.0 * np.pi * u[size:])).astype(np.float32)


def permutations(key: Array, counter: int, length: int, count: int = 1) -> Array:
    """``count`` shuffles of ``range(length)``: int32[count, length]; of several keys one axis more.

    Shuffle number c is the order of (32-bit key, index), its keys being drawn from block
    ``counter + c * blocks_of(length)``: any of them can be made alone.

    Example:
        >>> order = permutations(stream_key(0, "shuffle"), 0, 5)[0]
        >>> sorted(order.tolist())
        [0, 1, 2, 3, 4]
    """
    if length >= 2**31:
        raise OptionError(f"at most 2**31 - 1 examples can be shuffled; given: {length}")
    each = blocks_of(length)
    shape = (*key.shape[:-1], count, each * 4)
    words = philox_blocks(key, counter, each * count).reshape(shape)[..., :length]
    if length >= _LONG:
        return np.stack([_order(row) for row in words.reshape(-1, length)]).reshape(words.shape)
    tagged = words.astype(np.uint64) << _HALF
    tagged |= np.arange(length, dtype=np.uint64)
    tagged.sort(axis=-1)
    return (tagged & _LOW).astype(np.int32)


def _order(keys: Array) -> Array:
    """The order of (key, index) for uint32 keys: int32, by their lower halves, then their upper.

    NumPy sorts 16-bit numbers stably by counting, which for long rows takes half the time of
    comparing whole keys.
    """
    lower = np.argsort((keys & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    upper = (keys >> np.uint32(16)).astype(np.uint16)[lower]
    return lower[np.argsort(upper, kind="stable")].astype(np.int32)
