"""Networks of sequences on real texts: a transformer on names, an LSTM on Shakespeare, each beside
PyTorch from the same first weights, on the same batches."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F

torch = pytest.importorskip("torch")
Find = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """PyTorch's threads spin after their work, and would hold up ours."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LETTERS = ".abcdefghijklmnopqrstuvwxyz"
LONGEST = 11  # letters of a name; longer ones are left out
WIDTH = 32


def names_of(path: Path) -> tuple[Any, Any]:
    """Names as numbers, each behind a dot, and what comes next; -100 behind the end."""
    words = [word for word in path.read_text(encoding="utf-8").split() if len(word) <= LONGEST]
    order = np.random.default_rng(0).permutation(len(words))[:6400]
    x = np.zeros((len(order), LONGEST + 1), np.int64)
    y = np.full_like(x, -100)
    for row, place in enumerate(order):
        numbers = [LETTERS.index(letter) for letter in words[place]]
        x[row, 1 : len(numbers) + 1] = numbers
        y[row, : len(numbers) + 1] = [*numbers, 0]
    return x, y


class Names(nn.Module):
    """The scores of the next letter at each place."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(27, WIDTH)
        self.places = nn.LearnedPositions(WIDTH, LONGEST + 1, batch_first=True)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 64, dropout=0.0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(WIDTH, 27)

    def forward(self, x: Any) -> Any:
        return self.out(self.encoder(self.places(self.letters(x)), is_causal=True))


def by_letter(scores: Any, target: Any) -> Any:
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), target.reshape(-1))


def names_by_torch(first: dict[str, Any], x: Any, y: Any, epochs: int) -> list[float]:
    """The losses of PyTorch's same network."""
    layer = torch.nn.TransformerEncoderLayer(
        WIDTH, 4, 64, dropout=0.0, batch_first=True, norm_first=True
    )
    parts = torch.nn.ModuleDict(
        {
            "letters": torch.nn.Embedding(27, WIDTH),
            "encoder": torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            "out": torch.nn.Linear(WIDTH, 27),
        }
    )
    places = torch.nn.Parameter(torch.tensor(first["places.weight"]))
    parts.load_state_dict(
        {k: torch.tensor(v) for k, v in first.items() if not k.startswith("places")}
    )
    hidden = torch.triu(torch.ones(LONGEST + 1, LONGEST + 1), 1).bool()
    adam = torch.optim.Adam([*parts.parameters(), places], lr=3e-3)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for k in range(0, len(x), 64):
            a, b = torch.tensor(x[k : k + 64]), torch.tensor(y[k : k + 64])
            inner = parts["encoder"](parts["letters"](a) + places, hidden, is_causal=True)
            loss = torch.nn.functional.cross_entropy(
                parts["out"](inner).reshape(-1, 27), b.reshape(-1)
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item()
        losses.append(total / (len(x) // 64))
    return losses


def test_a_transformer_learns_names_as_torch_s_does(shared_data: Find) -> None:
    x, y = names_of(shared_data("text/names.txt"))
    cr.manual_seed(0)
    model = Names()
    first = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    adam = cr.optim.Adam(model.parameters(), lr=3e-3)
    trainer = cr.Trainer(model, by_letter, adam, engine="native", progress=False)
    run = trainer.fit((x, y), epochs=2, batch_size=64, shuffle=False)
    expected = names_by_torch(first, x, y, 2)
    np.testing.assert_allclose(run.history["loss"], expected, rtol=5e-3)
    # Pairs of letters alone (a count of which letter follows which) come to 2.45.
    assert run.history["loss"][-1] < 2.35
    words = [word for word in drawn(model.eval(), 300) if word]
    lengths = [len(word) for word in words]
    assert np.mean(lengths) == pytest.approx(((y >= 0).sum(axis=1) - 1).mean(), abs=1.0)
    vowels = np.mean([letter in "aeiouy" for letter in "".join(words)])
    assert vowels == pytest.approx(np.isin(y[y > 0], [1, 5, 9, 15, 21, 25]).mean(), abs=0.05)


def drawn(model: nn.Module, count: int) -> list[str]:
    """Names drawn letter by letter."""
    x = np.zeros((count, LONGEST + 1), np.int64)
    with cr.no_grad():
        for place in range(LONGEST):
            scores = model(cr.tensor(x))[:, place]
            x[:, place + 1] = F.sample(scores, temperature=0.9, top_k=20).numpy()
    texts = ["".join(LETTERS[number] for number in row[1:]) for row in x]
    return [text.split(".")[0] for text in texts]


HIDDEN, STEPS, STREAMS = 64, 32, 32


class Writer(nn.Module):
    """The scores of the next character, with a memory that goes on from chunk to chunk."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.letters = nn.Embedding(characters, 32)
        self.memory = nn.Carried(nn.LSTM(32, HIDDEN, 2, batch_first=True), STREAMS)
        self.out = nn.Linear(HIDDEN, characters)

    def forward(self, x: Any, start: Any) -> Any:
        return self.out(self.memory(self.letters(x), start))


def text_by_torch(first: dict[str, Any], x: Any, y: Any, characters: int) -> float:
    """The mean loss of PyTorch's same network."""
    letters = torch.nn.Embedding(characters, 32)
    lstm, out = torch.nn.LSTM(32, HIDDEN, 2, batch_first=True), torch.nn.Linear(HIDDEN, characters)
    for part, name in ((letters, "letters."), (lstm, "memory.layer."), (out, "out.")):
        held = {k.removeprefix(name): v for k, v in first.items() if k.startswith(name)}
        part.load_state_dict({k: torch.tensor(v) for k, v in held.items()})
    parameters = [*letters.parameters(), *lstm.parameters(), *out.parameters()]
    adam = torch.optim.Adam(parameters, lr=5e-3)
    state, total = None, 0.0
    for k in range(0, len(x), STREAMS):
        a, b = torch.tensor(x[k : k + STREAMS]), torch.tensor(y[k : k + STREAMS])
        found, state = lstm(letters(a), state)
        state = tuple(one.detach() for one in state)
        loss = torch.nn.functional.cross_entropy(out(found).reshape(-1, characters), b.reshape(-1))
        adam.zero_grad()
        loss.backward()
        adam.step()
        total += loss.item()
    return total / (len(x) // STREAMS)


def test_an_lstm_learns_shakespeare_as_torch_s_does(shared_data: Find) -> None:
    text = shared_data("text/tinyshakespeare.txt").read_text(encoding="utf-8")
    text = text[: STEPS * STREAMS * 200 + 1]
    vocabulary = cr.data.Vocabulary.of(text, by="character")
    numbers = np.asarray(vocabulary.encode(text))
    x, y, start = cr.data.cut_sequence(numbers[:-1], numbers[1:], steps=STEPS, streams=STREAMS)
    cr.manual_seed(0)
    model = Writer(len(vocabulary))
    first = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    adam = cr.optim.Adam(model.parameters(), lr=5e-3)
    trainer = cr.Trainer(model, by_letter, adam, engine="native", progress=False)
    run = trainer.fit((x, start, y), epochs=1, batch_size=STREAMS, shuffle=False)
    expected = text_by_torch(first, x, y, len(vocabulary))
    assert run.history["loss"][0] == pytest.approx(expected, rel=5e-3)
    again = trainer.fit((x, start, y), epochs=1, batch_size=STREAMS, shuffle=False)
    counts = np.bincount(numbers) / len(numbers)
    unigram = -(counts[counts > 0] * np.log2(counts[counts > 0])).sum()
    assert again.history["loss"][-1] / np.log(2) < unigram - 1.5
