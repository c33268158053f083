"""Text as ids, windows of ids, and batches of what lies on the host."""

import itertools
import tracemalloc
from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.declare._empirical import permuted

key = jax.random.key(0)
few = settings(max_examples=20, deadline=None)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@few
@given(TEXT)
@example("\x00é–\U0001f600")
def test_decoded_ids_are_the_text(text):
    for tokens in (bx.Tokens.characters(text), bx.Tokens.bytes()):
        ids = tokens.encode(text)
        assert ids.dtype == np.int32 and 0 <= ids.min() <= ids.max() < len(tokens)
        assert tokens.decode(ids) == text
    assert len(bx.Tokens.characters(text)) == len(set(text))
    assert len(bx.Tokens.bytes().encode(text)) == len(text.encode())


@few
@given(st.text(st.characters(), min_size=1, max_size=40))
@example("a\ud800\udc00")
def test_halves_of_surrogate_pairs_are_characters_but_no_bytes(text):
    tokens = bx.Tokens.characters(text)
    assert tokens.decode(tokens.encode(text)) == text
    halves = [symbol for symbol in text if "\ud800" <= symbol <= "\udfff"]
    if halves:
        with pytest.raises(bx.DeclarationError, match="surrogate") as caught:
            bx.Tokens.bytes().encode(text)
        assert caught.value.argument == "text" and repr(halves[0]) in str(caught.value)


@few
@given(TEXT, st.integers(1, 10))
def test_the_most_frequent_characters_are_kept_and_one_id_stands_for_the_others(text, most):
    tokens = bx.Tokens.characters(text, most=most)
    counts = Counter(text)
    kept = min(most, len(counts))
    assert len(tokens) == kept + 1
    most_frequent = sum(sorted(counts.values())[::-1][:most])
    assert np.sum(tokens.encode(text) < kept) == most_frequent
    shown = tokens.decode(tokens.encode(text))
    assert all(a == b or b == "�" for a, b in zip(text, shown, strict=True))


def test_wrong_text_and_ids_are_refused():
    tokens = bx.Tokens.characters("abba")
    with pytest.raises(bx.DeclarationError, match="the character 'c'"):
        tokens.encode("abc")
    for wrong in ([2], [-1]):
        with pytest.raises(bx.DeclarationError, match="ids from"):
            tokens.decode(np.array(wrong))
    with pytest.raises(bx.DeclarationError, match="order of their code"):
        bx.Tokens("ba")
    assert (
        bx.Tokens.bytes().decode(np.array([0xC3])) == "�" and tokens.decode(np.zeros(0, int)) == ""
    )


@few
@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 12))
def test_windows_are_pieces_and_the_same_one_token_later(size, length, stride):
    ids = np.arange(size) * 7
    if size <= length:
        with pytest.raises(bx.DeclarationError, match="shorter"):
            bx.Windows(ids, length, stride)
        return
    windows = bx.Windows(ids, length, stride)
    starts = [i for i in range(0, size, stride) if i + length < size]
    x, y = windows[:]
    assert len(windows) == len(starts) and x.shape == y.shape == (len(starts), length)
    for i, begin in enumerate(starts):
        np.testing.assert_array_equal(x[i], ids[begin : begin + length])
        np.testing.assert_array_equal(y[i], ids[begin + 1 : begin + length + 1])
        np.testing.assert_array_equal(windows[i][0], x[i])
    with pytest.raises(IndexError):
        windows[len(windows)]
    np.testing.assert_array_equal(windows[[-1, 0]][1], y[[-1, 0]])


INDICES = [
    -1, np.int32(3), slice(None, None, -2), slice(2, 900), np.array([[0, -1], [2, 1]]), [], ...,
    np.arange(9) % 2 == 0, None, (slice(1, 4),), (None, 2), 9, -10, [0, 9], np.ones(8, bool), 0.5,
    "a", (0, 0), np.array([1.0]),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_windows_are_indexed_as_arrays_are(index):
    ids = np.arange(21, dtype=np.int32)
    windows = bx.Windows(ids, 4, 2)
    starts = np.arange(len(windows)) * 2
    assert len(windows) == 9
    try:
        places = starts[index]
    except IndexError:
        with pytest.raises(IndexError):
            windows[index]
        return
    x, y = windows[index]
    np.testing.assert_array_equal(x, places[..., None] + np.arange(4))
    np.testing.assert_array_equal(y, x + 1)
    x[...] = -1
    np.testing.assert_array_equal(ids, np.arange(21))


def test_only_what_is_indexed_is_allocated(tmp_path):
    path = tmp_path / "ids"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    windows = bx.Windows(np.memmap(path, np.uint8, mode="r"), 8, 1)
    for index in (5, -1, slice(0, None, 10_000_000), np.array([3, 40_000_000])):
        tracemalloc.start()
        windows[index]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64])
def test_ids_that_int32_does_not_hold_are_refused_where_they_are_read(dtype):
    ids = np.arange(12, dtype=dtype)
    ids[-1] = 2**31
    windows = bx.Windows(ids, 3)
    np.testing.assert_array_equal(windows[0][0], [0, 1, 2])
    with pytest.raises(bx.DeclarationError, match="2147483648") as caught:
        bx.Windows(ids, 3, 1)[:]
    assert caught.value.argument == "ids"
    ids[-1] -= 1
    assert bx.Windows(ids, 3, 1)[-1][1][-1] == 2**31 - 1


SOURCES = {
    "array": lambda n: np.arange(n),
    "pair": lambda n: (np.arange(n), np.arange(n)[:, None] % 3),
    "dictionary": lambda n: {"x": np.arange(n)},
    "windows": lambda n: bx.Windows(np.arange(n + 1), 1),
    "list": lambda n: [{"x": i, "y": np.ones(2)} for i in range(n)],
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("n", [7, 130])
def test_every_datum_comes_at_most_once_in_an_epoch(name, n):
    batches = bx.Batches(SOURCES[name](n), 3, key=key)
    orders = []
    for epoch in range(3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        numbers = [jax.tree.leaves(batches[step])[0] for step in steps]
        order = np.ravel(numbers)
        assert len(set(order)) == len(order) == n // 3 * 3 and set(order) <= set(range(n))
        orders.append(order.tolist())
    assert orders[0] != orders[1] != orders[2]
    other = bx.Batches(SOURCES[name](n), 3, key=jax.random.key(1))
    assert not np.array_equal(other.indices(0), batches.indices(0))


class Far:
    """A source of n data, each its own index."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return np.int64(index)


# the sum of two indices passes 2^31 for the last three, and the table has more than 2^31 cells
@pytest.mark.parametrize("n", [2**30 - 5, 1_200_000_000, 1_800_000_000, 2**31 - 1])
def test_indices_of_the_largest_sources_are_inside_and_distinct(n):
    batches = bx.Batches(Far(n), 4096, key=key)
    for epoch in range(8):
        chosen = batches.indices(epoch * batches.per_epoch)
        assert chosen.min() >= 0 and chosen.max() < n and len(set(chosen.tolist())) == 4096
        assert abs(chosen.mean() / n - 0.5) < 5 / np.sqrt(12 * 4096)
    places = np.linspace(0, n - 1, 50_000).astype(np.int32)
    for seed in range(4):
        found = np.asarray(permuted(jax.random.key(seed), n, places))
        assert found.min() >= 0 and found.max() < n and len(np.unique(found)) == len(places)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 100))
@example(64, 0)
@example(65, 0)
@example(65_537, 1)
def test_all_indices_of_an_epoch_are_a_permutation(n, seed):
    found = np.asarray(permuted(jax.random.key(seed), n, np.arange(n, dtype=np.int32)))
    np.testing.assert_array_equal(np.sort(found), np.arange(n))


def test_steps_past_the_last_epoch_are_refused():
    batches = bx.Batches(np.arange(7), 3, key=key)
    assert batches[2**33 - 1].shape == (3,)
    with pytest.raises(bx.DeclarationError, match="2\\^32 epochs") as caught:
        batches[2**33]
    assert caught.value.argument == "step"


def test_each_datum_is_left_out_as_often():
    batches = bx.Batches(np.arange(100), 30, key=key)
    counts = np.bincount(np.ravel([batches[step] for step in range(3 * 400)]), minlength=100)
    error = np.sqrt(400 * 0.9 * 0.1)
    assert np.all(np.abs(counts - 360) < 4.5 * error) and counts.std() > 0.5 * error


def test_a_resumed_run_sees_the_same_batches():
    batches = bx.Batches((np.arange(20), np.arange(20)), 4, key=key)
    first = list(itertools.islice(batches, 12))
    again = dict(itertools.islice(batches.after(7), 5))
    assert list(again) == [7, 8, 9, 10, 11]
    for step, (x, y) in again.items():
        np.testing.assert_array_equal(x, first[step][0])
        np.testing.assert_array_equal(x, y)


def test_without_shuffling_the_order_is_that_of_the_source():
    batches = bx.Batches(np.arange(10), 4, key=key, shuffle=False)
    assert [batches[step].tolist() for step in range(3)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [0, 1, 2, 3],
    ]


def test_data_on_the_disk_are_read_by_the_batch(tmp_path):
    path = tmp_path / "ids"
    np.arange(1000, dtype=np.uint16).tofile(path)
    windows = bx.Windows(np.memmap(path, np.uint16, mode="r"), 8, 1)
    assert isinstance(windows.ids, np.memmap)
    x, y = bx.Batches(windows, 5, key=key)[3]
    np.testing.assert_array_equal(y, x + 1)
    assert x.shape == (5, 8) and x.dtype == np.int32 and not isinstance(x, np.memmap)


@pytest.mark.parametrize("most", [None, 3])
def test_texts_of_an_iterator_are_written_and_read_by_the_batch(tmp_path, most):
    texts = ["ab", "", "cabé" * 50, "b"]
    tokens = bx.Tokens.characters("".join(texts), most)
    for kind in (tokens, bx.Tokens.bytes()):
        path = tmp_path / f"{len(kind)}"
        ids = kind.encode_to(path, iter(texts))
        assert isinstance(ids, np.memmap) and ids.dtype == kind.dtype == np.uint8
        np.testing.assert_array_equal(ids, kind.encode("".join(texts)))
        np.testing.assert_array_equal(np.memmap(path, kind.dtype, mode="r"), ids)
        x, y = bx.Windows(ids, 8)[0]
        assert kind.decode(np.append(x, y[-1])) == kind.decode(kind.encode("".join(texts))[:9])
        with pytest.raises(bx.DeclarationError, match="exists"):
            kind.encode_to(path, texts)
    assert bx.Tokens("".join(map(chr, range(300)))).dtype == np.uint16


def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path):
    for wrong in (["ab", "z"], []):
        with pytest.raises(bx.DeclarationError):
            bx.Tokens("ab").encode_to(tmp_path / "ids", wrong)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [(np.arange(3), np.arange(4)), np.arange(2), "text", iter([1, 2, 3]), np.ones(()), []]
)
def test_wrong_sources_are_refused(wrong):
    with pytest.raises(bx.DeclarationError, match="source"):
        bx.Batches(wrong, 3, key=key)


def test_ragged_data_are_refused():
    batches = bx.Batches([np.ones(2), np.ones(3)], 2, key=jax.random.key(0))
    with pytest.raises(bx.DeclarationError, match="one shape"):
        batches[0]
