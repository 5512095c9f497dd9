"""Schedules of the learning rate against PyTorch, their state, and what they refuse."""

import math
from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr
from chainrule.errors import OptionError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:Detected call of:UserWarning",
    "ignore:The epoch parameter in:UserWarning",
    "ignore:To get the last learning rate:UserWarning",
)
Make = Callable[[Any, Any], Any]


def named(name: str, *args: Any, **kwargs: Any) -> Make:
    return lambda library, optimizer: getattr(library.optim.lr_scheduler, name)(
        optimizer, *args, **kwargs
    )


def chain(*makers: Make) -> Make:
    return lambda library, optimizer: library.optim.lr_scheduler.ChainedScheduler(
        [make(library, optimizer) for make in makers], optimizer=optimizer
    )


def sequence(milestones: list[int], *makers: Make) -> Make:
    return lambda library, optimizer: library.optim.lr_scheduler.SequentialLR(
        optimizer, [make(library, optimizer) for make in makers], milestones=milestones
    )


SCHEDULES: dict[str, Make] = {
    "step": named("StepLR", 3, 0.3),
    "steps": named("MultiStepLR", [2, 5, 5, 11], 0.5),
    "constant": named("ConstantLR", 0.2, 4),
    "linear": named("LinearLR", 0.25, 0.75, 6),
    "exponential": named("ExponentialLR", 0.9),
    "polynomial": named("PolynomialLR", 7, 2.0),
    "lambda": named("LambdaLR", lambda epoch: 0.95**epoch),
    "lambdas": named("LambdaLR", [lambda epoch: 0.95**epoch, lambda epoch: 1 / (1 + epoch)]),
    "multiplicative": named("MultiplicativeLR", lambda epoch: 0.9 if epoch % 2 else 1.05),
    "cosine": named("CosineAnnealingLR", 6, 0.01),
    "restarts": named("CosineAnnealingWarmRestarts", 3, 2, 0.01),
    "one cycle": named("OneCycleLR", [1.0, 2.0], 30),
    "one cycle, three phases": named(
        "OneCycleLR", 1.0, epochs=5, steps_per_epoch=6, three_phase=True, anneal_strategy="linear"
    ),
    "triangles": named("CyclicLR", 0.1, 1.0, 4, 3),
    "shrinking triangles": named("CyclicLR", 0.1, 1.0, 4, mode="triangular2"),
    "decaying triangles": named("CyclicLR", [0.1, 0.2], 1.0, 3, mode="exp_range", gamma=0.9),
    "warm-up then cosine": sequence(
        [5], named("LinearLR", 0.1, 1.0, 5), named("CosineAnnealingLR", 10)
    ),
    "three in turn": sequence(
        [3, 8], named("ConstantLR", 0.1, 3), named("StepLR", 2, 0.5), named("ExponentialLR", 0.8)
    ),
    "together": chain(named("ConstantLR", 0.1, 3), named("ExponentialLR", 0.9)),
    "on each other": lambda library, optimizer: Both(
        named("StepLR", 4, 0.5)(library, optimizer),
        named("CosineAnnealingLR", 9, 0.001)(library, optimizer),
    ),
}


class Both:
    """Two schedules on one optimizer, stepped by turns."""

    def __init__(self, *schedules: Any) -> None:
        self.schedules = schedules

    def step(self) -> None:
        for schedule in self.schedules:
            schedule.step()


def optimizer_of(library: Any, name: str = "SGD") -> Any:
    groups = [
        {"params": [library.zeros(1, requires_grad=True)]},
        {"params": [library.zeros(2, requires_grad=True)], "lr": 0.2},
    ]
    options = {"momentum": 0.9} if name == "SGD" else {}
    return getattr(library.optim, name)(groups, lr=0.5, **options)


def numbers(optimizer: Any) -> list[float]:
    """Rates, momenta and first betas of all groups."""
    found = []
    for group in optimizer.param_groups:
        found.append(float(group["lr"]))
        found.append(float(group["betas"][0] if "betas" in group else group["momentum"]))
    return found


def course(library: Any, make: Make, steps: int, name: str = "SGD") -> list[list[float]]:
    optimizer = optimizer_of(library, name)
    schedule = make(library, optimizer)
    rates = [numbers(optimizer)]
    for _ in range(steps):
        optimizer.step()
        schedule.step()
        rates.append(numbers(optimizer))
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
def test_thirty_epochs(name: str) -> None:
    steps = 29 if name.startswith("one cycle") else 30
    mine = course(cr, SCHEDULES[name], steps)
    for a, b in zip(mine, course(torch, SCHEDULES[name], steps), strict=True):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["one cycle", "triangles"])
def test_the_first_beta_is_cycled_too(name: str) -> None:
    mine = course(cr, SCHEDULES[name], 20, "Adam")
    for a, b in zip(mine, course(torch, SCHEDULES[name], 20, "Adam"), strict=True):
        assert a == pytest.approx(b, rel=1e-9)


@pytest.mark.parametrize("options", [
    {},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.05},
    {"patience": 0, "cooldown": 2, "min_lr": [0.01, 0.15]},
    {"factor": 0.5, "patience": 1, "threshold": 0.2},
])  # fmt: skip
def test_plateaus(options: dict[str, Any]) -> None:
    options = {"patience": 2, **options}
    losses = [3, 2, 2.1, 2.05, 2, 2, 1.9, 1.9, 1.9, 1.9, 1.9, 2.5, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2]
    courses = []
    for library in (cr, torch):
        optimizer = optimizer_of(library)
        schedule = library.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for loss in losses:
            schedule.step(loss if library is torch else cr.tensor(loss))
            rates.append(numbers(optimizer))
        assert list(schedule.get_last_lr()) == [group["lr"] for group in optimizer.param_groups]
        courses.append(rates)
    for a, b in zip(*courses, strict=True):
        assert a == pytest.approx(b, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != "on each other"])
def test_state_continues(name: str) -> None:
    make = SCHEDULES[name]
    expected = course(cr, make, 20)
    optimizer = optimizer_of(cr)
    schedule = make(cr, optimizer)
    for _ in range(8):
        schedule.step()
    saved, groups = schedule.state_dict(), optimizer.state_dict()
    assert plain(saved)
    other = optimizer_of(cr)
    resumed = make(cr, other)
    other.load_state_dict(groups)
    resumed.load_state_dict(saved)
    for epoch in range(9, 21):
        resumed.step()
        assert numbers(other) == expected[epoch]


def plain(value: Any) -> bool:
    """Whether a state can be written without executing anything to read it back."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or isinstance(value, bool | int | float | str)


@pytest.mark.parametrize(
    "name", ["step", "steps", "constant", "linear", "exponential", "polynomial", "cosine", "lambda"]
)
@pytest.mark.parametrize("last", [1, 2, 4])
def test_continuing_by_epoch(name: str, last: int) -> None:
    """Made with last_epoch, and later moved to an epoch."""

    def continued(library: Any) -> list[list[float]]:
        optimizer = optimizer_of(library)
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.8
        inner: dict[str, tuple[str, tuple[Any, ...]]] = {
            "step": ("StepLR", (3, 0.3)),
            "steps": ("MultiStepLR", ([2, 5, 5, 11], 0.5)),
            "constant": ("ConstantLR", (0.2, 5)),
            "linear": ("LinearLR", (0.25, 0.75, 6)),
            "exponential": ("ExponentialLR", (0.9,)),
            "polynomial": ("PolynomialLR", (9, 2.0)),
            "cosine": ("CosineAnnealingLR", (6, 0.01)),
            "lambda": ("LambdaLR", (lambda epoch: 0.95**epoch,)),
        }
        kind, arguments = inner[name]
        schedule = named(kind, *arguments, last_epoch=last)(library, optimizer)
        rates = [numbers(optimizer)]
        for _ in range(5):
            schedule.step()
            rates.append(numbers(optimizer))
        schedule.step(2)
        return [*rates, numbers(optimizer), list(schedule.get_last_lr())]

    for a, b in zip(continued(cr), continued(torch), strict=True):
        assert a == pytest.approx(b, rel=1e-12)


def test_a_schedule_acts_on_a_compiled_step() -> None:
    w = cr.tensor([0.0], requires_grad=True)
    optimizer = cr.optim.SGD([w], lr=1.0)
    schedule = cr.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def step() -> cr.Tensor:
        optimizer.zero_grad()
        loss = -w.sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step, engine="numpy")
    for _ in range(4):
        compiled()
        schedule.step()
    assert w.item() == 1 + 0.5 + 0.25 + 0.125


def refused(make: Make, *parts: str, optimizer: Any = None) -> None:
    with pytest.raises(OptionError) as error:
        make(cr, optimizer or optimizer_of(cr))
    for part in parts:
        assert part in str(error.value)


def test_errors() -> None:
    plain_sgd = cr.optim.SGD([cr.zeros(1, requires_grad=True)], lr=0.1)
    adagrad = cr.optim.Adagrad([cr.zeros(1, requires_grad=True)])
    with pytest.raises(OptionError, match="StepLR takes an optimizer, a float was given"):
        cr.optim.lr_scheduler.StepLR(0.1, 3)
    refused(named("StepLR", 0), "step_size must be a whole number from 1; 0 given")
    refused(named("CosineAnnealingLR", 0), "T_max must be a whole number from 1")
    refused(named("CosineAnnealingWarmRestarts", 2, 0), "T_mult must be a whole number from 1")
    refused(named("PolynomialLR", 0), "total_iters must be a whole number from 1")
    refused(named("ConstantLR", 2.0), "factor must be above 0 and at most 1; 2.0 given")
    refused(named("LinearLR", 0.0), "start_factor must be above 0")
    refused(named("LambdaLR", [math.sqrt]), "1 functions were given for 2 groups")
    refused(named("StepLR", 2, last_epoch=4), "group 0 has no 'initial_lr'", "load the optimizer")
    refused(named("OneCycleLR", 1.0), "number of steps is not known", "total_steps, or epochs and")
    refused(named("OneCycleLR", 1.0, 10, pct_start=2.0), "pct_start must be from 0 to 1; 2.0")
    refused(named("OneCycleLR", 1.0, 10, anneal_strategy="up"), "'cos' or 'linear'; 'up'")
    refused(named("OneCycleLR", [1.0], 10), "max_lr has 1 values for 2 groups")
    refused(named("CyclicLR", 0.1, 1.0, mode="square"), "mode must be 'triangular'", "'square'")
    refused(
        named("OneCycleLR", 1.0, 10),
        "no momentum to cycle",
        "cycle_momentum=False",
        optimizer=adagrad,
    )
    refused(named("ReduceLROnPlateau", factor=1.5), "factor must be below 1; 1.5")
    refused(named("ReduceLROnPlateau", "least"), "mode must be 'min' or 'max'; 'least'")
    refused(named("ReduceLROnPlateau", threshold_mode="x"), "'rel' or 'abs'; 'x'")
    refused(sequence([1, 2], named("StepLR", 1), named("StepLR", 1)), "2 schedules need 1 miles")
    refused(chain(), "one or more schedules; none was given")
    other = cr.optim.lr_scheduler.StepLR(plain_sgd, 1)
    refused(
        lambda library, optimizer: cr.optim.lr_scheduler.SequentialLR(optimizer, [other], []),
        "schedule 0 belongs to another optimizer",
    )
    cycle = cr.optim.lr_scheduler.OneCycleLR(optimizer_of(cr), 1.0, 2)
    cycle.step()
    cycle.step()
    with pytest.raises(OptionError, match=r"step 3 lies beyond the end of the cycle"):
        cycle.step()
