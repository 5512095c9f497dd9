"""Random numbers: the paper's own vectors, and what engines and resumed runs rely on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import random
from chainrule.errors import OptionError
from chainrule.random import bits, blocks_of, permutations, philox_blocks, stream_key, uniforms


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x32-10 written down once more, with Python's whole numbers, for a whole counter."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [
            (second >> 32) ^ c[1] ^ k[0],
            second & 0xFFFFFFFF,
            (first >> 32) ^ c[3] ^ k[1],
            first & 0xFFFFFFFF,
        ]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


# Known answers published with Salmon et al., "Parallel random numbers: as easy as 1, 2, 3".
KNOWN = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_formula_gives_the_known_answers(
    counter: list[int], key: list[int], expected: list[int]
) -> None:
    assert philox(counter, key) == expected


def test_the_library_gives_the_known_answer_at_counter_0() -> None:
    assert philox_blocks(np.zeros(2, np.uint32), 0, 1)[0].tolist() == KNOWN[0][2]


@given(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.integers(0, 2**63 - 1) | st.integers(2**32 - 3, 2**32 + 3),
    st.integers(1, 5),
)
def test_blocks_are_the_formula(key: tuple[int, int], first: int, count: int) -> None:
    found = philox_blocks(np.array(key, np.uint32), first, count)
    for number in range(count):
        counter = [(first + number) & 0xFFFFFFFF, (first + number) >> 32, 0, 0]
        assert found[number].tolist() == philox(counter, list(key))


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(0, 40))
def test_draws_in_parts_are_the_draw_of_the_whole(counter: int, size: int, more: int) -> None:
    key = stream_key(1, "x")
    whole = bits(key, counter, 4 * size + more)
    parts = [bits(key, counter, 4 * size), bits(key, counter + blocks_of(4 * size), more)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_long_draws_do_not_depend_on_how_they_are_cut() -> None:
    key = stream_key(3, "x")
    many = philox_blocks(key, 5, 20_000)
    np.testing.assert_array_equal(many[17_000:], philox_blocks(key, 17_005, 3_000))


def test_streams_and_seeds_differ() -> None:
    keys = {tuple(stream_key(seed, name)) for seed in range(50) for name in ("a", "b", "shuffle")}
    assert len(keys) == 150
    assert tuple(stream_key(7, "a")) == tuple(stream_key(7, "a"))
    for seed in (-1, 2**64):
        with pytest.raises(OptionError, match="a seed must be a whole number from 0"):
            stream_key(seed, "a")


def test_uniforms_have_24_bits_and_fill_the_interval() -> None:
    u = uniforms(stream_key(0, "u"), 0, 100_000)
    assert u.dtype == np.float32 and u.min() >= 0 and u.max() < 1
    scaled = u.astype(np.float64) * 2**24
    np.testing.assert_array_equal(scaled, np.round(scaled))
    counts, _ = np.histogram(u, 20, (0, 1))
    chi = ((counts - 5000) ** 2 / 5000).sum()
    assert chi < 43.8  # 99.9 % of a chi-square of 19 degrees of freedom


def test_normals_have_the_moments_of_the_normal() -> None:
    z = random.normals(stream_key(0, "z"), 0, 200_000).astype(np.float64)
    assert np.isfinite(z).all()
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01
    assert abs((z**3).mean()) < 0.03 and abs((z**4).mean() - 3) < 0.08


@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 4))
def test_permutations(counter: int, length: int, count: int) -> None:
    key = stream_key(0, "shuffle")
    orders = permutations(key, counter, length, count)
    assert orders.dtype == np.int32
    for number in range(count):
        assert sorted(orders[number]) == list(range(length))
        alone = permutations(key, counter + number * blocks_of(length), length)[0]
        np.testing.assert_array_equal(orders[number], alone)
        words = bits(key, counter + number * blocks_of(length), length)
        expected = sorted(range(length), key=lambda k: (int(words[k]), k))
        assert orders[number].tolist() == expected


def test_every_order_is_as_likely() -> None:
    orders = permutations(stream_key(0, "shuffle"), 0, 4, 24_000)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - 1000) ** 2 / 1000).sum() < 49.7  # 99.9 % at 23 degrees of freedom


def test_generators_count_what_they_draw() -> None:
    g = cr.Generator(5, "x")
    first = g.uniform((3, 3))
    state = g.get_state()
    second = g.uniform((4,))
    assert state == {"seed": 5, "counter": 3}
    g.set_state(state)
    assert g.uniform((4,)).tolist() == second.tolist()
    g.manual_seed(5)
    assert g.uniform((3, 3)).tolist() == first.tolist()
    assert cr.Generator(5, "y").uniform((3, 3)).tolist() != first.tolist()
    expected = random.uniforms(stream_key(5, "x"), 0, 9).reshape(3, 3)
    np.testing.assert_array_equal(first.numpy(), expected)


def test_tensor_draws() -> None:
    cr.manual_seed(3)
    a = [cr.rand(2, 3), cr.randn(4), cr.randint(2, 9, (50,)), cr.randperm(10)]
    cr.manual_seed(3)
    b = [cr.rand(2, 3), cr.randn(4), cr.randint(2, 9, (50,)), cr.randperm(10)]
    for one, other in zip(a, b, strict=True):
        assert one.tolist() == other.tolist()
    assert a[2].dtype is cr.int64 and a[2].min().item() >= 2 and a[2].max().item() <= 8
    assert sorted(a[3].tolist()) == list(range(10))
    assert cr.rand(2, dtype=cr.float64).dtype is cr.float64
    assert cr.rand(2, requires_grad=True).requires_grad
    assert cr.rand_like(cr.ones(2, 2)).shape == (2, 2)
    assert cr.randn_like(cr.ones(2, dtype=cr.float64)).dtype is cr.float64
    with pytest.raises(OptionError, match="randint draws from ranges of 1 to"):
        cr.randint(5, 5, (2,))


def test_masks_are_exact_thresholds() -> None:
    g = cr.Generator(0, "dropout")
    words = bits(stream_key(0, "dropout"), 0, 1000)
    mask = g.below((1000,), 0.3)
    np.testing.assert_array_equal(mask.numpy(), words < round(0.3 * 2**32))
    assert g.below((10,), 1.0).all().item() and not g.below((10,), 0.0).any().item()


@pytest.mark.parametrize(("keys", "length", "count"), [(3, 5, 7), (40, 6, 300), (2, 5000, 2)])
def test_several_keys_are_each_key_by_itself(keys: int, length: int, count: int) -> None:
    several = random.stream_keys(range(keys), "shuffle")
    assert several.shape == (keys, 2)
    blocks = random.philox_blocks(several, 9, count)
    orders = random.permutations(several, 4, length, 3)
    for number in range(keys):
        key = random.stream_key(number, "shuffle")
        assert (several[number] == key).all()
        assert (blocks[number] == random.philox_blocks(key, 9, count)).all()
        assert (orders[number] == random.permutations(key, 4, length, 3)).all()
