"""Modules: registration, names, scopes, hooks, state, and what they say when misused."""

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ModuleError

torch = pytest.importorskip("torch")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.Linear(width, width, bias=False)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(2)])
        self.register_buffer("count", cr.zeros(1))
        self.register_buffer("scratch", cr.zeros(2), persistent=False)

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x).relu()
        return x


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(OrderedDict(first=Block(3), act=nn.ReLU()))
        self.heads = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 1)})
        self.scale = nn.Parameter(cr.ones(1))

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        return self.heads["a"](self.encoder(x)) * self.scale


KEYS = [
    "scale",
    "encoder.first.count",
    "encoder.first.norm.weight",
    "encoder.first.layers.0.weight",
    "encoder.first.layers.0.bias",
    "encoder.first.layers.1.weight",
    "encoder.first.layers.1.bias",
    "heads.a.weight",
    "heads.a.bias",
    "heads.b.weight",
    "heads.b.bias",
]


def refused(action: Any, *parts: str) -> None:
    with pytest.raises(ModuleError) as error:
        action()
    for part in parts:
        assert part in str(error.value)


def test_names_of_state_parameters_and_modules() -> None:
    net = Net()
    assert list(net.state_dict()) == KEYS
    assert [name for name, _ in net.named_parameters()] == [
        key for key in KEYS if "count" not in key
    ]
    assert [name for name, _ in net.named_buffers()] == [
        "encoder.first.count",
        "encoder.first.scratch",
    ]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "encoder",
        "encoder.first",
        "encoder.first.norm",
        "encoder.first.layers",
        "encoder.first.layers.0",
        "encoder.first.layers.1",
        "encoder.act",
        "heads",
        "heads.a",
        "heads.b",
    ]
    assert [name for name, _ in net.named_children()] == ["encoder", "heads"]
    assert net.get_submodule("encoder.first.layers.1") is net.encoder.first.layers[1]
    assert net.get_parameter("heads.b.bias") is net.heads["b"].bias
    assert net.get_buffer("encoder.first.count") is net.encoder.first.count
    assert net.get_submodule("") is net


def test_every_node_knows_its_layer() -> None:
    net = Net()
    with cr.record():
        y = net(cr.ones(2, 3))
    scopes = set()
    stack = [y.node]
    while stack:
        node = stack.pop()
        scopes.add(node.scope)
        stack.extend(node.inputs)
    assert {
        "",
        "encoder.first.norm",
        "encoder.first.layers.0",
        "encoder.first.layers.1",
        "encoder.first",
        "encoder.act",
        "heads.a",
    } == scopes
    assert cr.config.STATE.scope == ""


def test_scope_is_left_after_an_error() -> None:
    net = Net()
    with pytest.raises(cr.errors.ShapeError, match=r"encoder.first.norm"):
        net(cr.ones(2, 5))
    assert cr.config.STATE.scope == ""


def test_lists_of_lists_and_late_registration_keep_scopes() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rows = nn.ModuleList()
            rows.append(nn.ModuleList([nn.Identity()]))
            self.rows = rows
            self.rows.append(nn.ModuleList([nn.ReLU()]))
            self.rows[0].append(nn.Tanh())

        def forward(self, x: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
            return self.rows[0][1](x), self.rows[1][0](x)

    with cr.record():
        first, second = Deep()(cr.ones(1))
    assert (first.node.scope, second.node.scope) == ("rows.0.1", "rows.1.0")


def test_shared_modules_and_parameters_come_once() -> None:
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(list(net.modules())) == 3


def test_repr_is_that_of_pytorch() -> None:
    def build(library: Any) -> Any:
        parts = library.nn
        return parts.Sequential(
            parts.Linear(4, 8),
            parts.ReLU(),
            parts.Sequential(parts.Dropout(0.1), parts.LeakyReLU(0.2), parts.Softmax(dim=1)),
            parts.ModuleList([parts.Linear(2, 2), parts.Linear(2, 2), parts.Tanh()]),
            parts.Flatten(),
            parts.ELU(),
            parts.GELU(),
            parts.PReLU(),
            parts.Softplus(),
            parts.Hardtanh(),
            parts.ModuleDict({"a": parts.Identity()}),
            parts.CrossEntropyLoss(),
            parts.Linear(2, 3, bias=False),
        )

    assert repr(build(cr)) == repr(build(torch))


def test_apply_train_eval_freeze() -> None:
    net = Net()
    seen: list[str] = []
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen[0] == "Linear" and seen[-1] == "Net"
    assert not net.eval().encoder.first.training
    assert net.train().encoder.first.training
    net.requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    net.requires_grad_()
    net(cr.ones(1, 3)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0.0]
    net.zero_grad()
    assert net.scale.grad is None
    refused(lambda: net.train(1), "train(mode) takes True or False, a int was given")


def test_changes_of_structure_bump_the_version() -> None:
    net = Net()

    def bumped(action: Any) -> bool:
        before = cr.config.VERSION.count
        action()
        return cr.config.VERSION.count > before

    assert bumped(net.eval)
    assert not bumped(net.eval)
    assert bumped(lambda: setattr(net, "extra", nn.Linear(1, 1)))
    assert bumped(lambda: delattr(net, "extra"))
    assert bumped(lambda: setattr(net.encoder.first, "count", cr.ones(1)))
    assert bumped(lambda: net.register_forward_hook(lambda *_: None).remove())
    assert not bumped(lambda: setattr(net, "note", "free"))


def test_conversion_keeps_handles() -> None:
    net = Net()
    scale, count = net.scale, net.encoder.first.count
    net.register_buffer("whole", cr.tensor([1]))
    assert net.double() is net
    assert net.scale is scale and scale.dtype is cr.float64 and scale.requires_grad
    assert count.dtype is cr.float64 and net.whole.dtype is cr.int64
    assert net(cr.ones(1, 3, dtype=cr.float64)).dtype is cr.float64
    assert net.float().scale.dtype is cr.float32
    assert net.to(cr.float64).scale.dtype is cr.float64
    assert net.cpu().scale.dtype is cr.float64
    assert net.to(cr.device("cpu")) is net
    for move in (net.cuda, lambda: net.to("cuda")):
        with pytest.raises(cr.errors.OptionError, match="cuda"):
            move()


def test_hooks() -> None:
    layer = nn.Linear(2, 1)
    calls: list[Any] = []
    before = layer.register_forward_pre_hook(lambda module, args: (args[0] * 0,))
    after = layer.register_forward_hook(lambda module, args, output: output + 1)
    first = layer.register_forward_hook(
        lambda module, args, kwargs, output: calls.append((len(args), kwargs)),
        prepend=True,
        with_kwargs=True,
    )
    assert layer(cr.ones(1, 2)).item() == pytest.approx(layer.bias.item() + 1)
    assert calls == [(1, {})]
    before.remove()
    after.remove()
    after.remove()
    first.remove()
    x = cr.ones(1, 2)
    assert layer(x).item() == nn.functional.linear(x, layer.weight, layer.bias).item()
    with layer.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"input": kwargs["input"] * 0}), with_kwargs=True
    ):
        assert layer(input=x).item() == layer.bias.item()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_backward_hooks_see_what_pytorch_shows() -> None:
    found: list[list[Any]] = []
    for library in (cr, torch):
        seen: list[Any] = []
        net = library.nn.Sequential(
            library.nn.Linear(2, 3), library.nn.Tanh(), library.nn.Linear(3, 1)
        )
        with library.no_grad():
            for parameter in net.parameters():
                parameter.copy_(library.ones(*parameter.shape) * 0.3)
        for layer in net:
            layer.register_full_backward_hook(
                lambda module, inputs, outputs, seen=seen: seen.append(
                    (
                        type(module).__name__,
                        [None if one is None else one.tolist() for one in (*inputs, *outputs)],
                    )
                )
            )
        x = library.tensor([[1.0, 2.0]])
        net(x).sum().backward()
        # The input is used elsewhere too: a hook sees the gradient through its module alone.
        x.requires_grad_()
        (net(x).sum() + (x * 5).sum()).backward()
        found.append([*seen, net[0].weight.grad.tolist(), x.grad.tolist()])
    assert len(found[0]) == len(found[1])
    for mine, other in zip(*found, strict=True):
        flat = [
            np.hstack(
                [np.ravel(np.array(v, float)) for v in (one[1] if isinstance(one, tuple) else one)]
            )
            for one in (mine, other)
        ]
        np.testing.assert_allclose(*flat, rtol=1e-5)
        assert not isinstance(mine, tuple) or mine[0] == other[0]


def test_backward_hooks_replace_and_come_off() -> None:
    layer = nn.Linear(2, 1)
    x = cr.ones(1, 2, requires_grad=True)
    handle = layer.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 0,))
    layer(x).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0]]
    handle.remove()
    layer(x).sum().backward()
    assert x.grad.tolist() == layer.weight.tolist()

    class Two(nn.Module):
        def forward(self, a: cr.Tensor, b: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
            return a * b, a

    two = Two()
    shown: list[Any] = []
    two.register_full_backward_hook(lambda module, inputs, outputs: shown.append((inputs, outputs)))
    a, b = cr.tensor(2.0, requires_grad=True), cr.tensor(3.0, requires_grad=True)
    product, same = two(a, b)
    (product + same * 10).backward()
    ((inputs, outputs),) = shown
    assert [one.item() for one in inputs] == [13.0, 2.0]
    assert [one.item() for one in outputs] == [1.0, 10.0]
    two.register_full_backward_hook(lambda module, inputs, outputs: inputs)
    refused(lambda: two(a, b)[0].backward(), "a module with 2 inputs", "tensor.register_hook")


def test_state_keeps_its_values_and_loads_everywhere() -> None:
    net = Net()
    state = net.state_dict()
    kept = state["scale"].item()
    with cr.no_grad():
        net.scale.mul_(3)
    assert state["scale"].item() == kept
    other = Net()
    result = other.load_state_dict(state)
    assert repr(result) == "<All keys matched successfully>"
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name].numpy())
    arrays = {name: value.numpy() * 2 for name, value in state.items()}
    other.load_state_dict(arrays)
    arrays["scale"][:] = -1
    assert other.scale.item() == 2 * kept
    assert other.scale.requires_grad and other.scale.is_leaf


def test_loading_pytorch_state() -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    ours = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(
        ours(cr.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5
    )


def test_loading_what_does_not_fit_changes_nothing() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    before = net[0].weight.tolist()
    state = {"0.weight": cr.zeros(3, 2), "0.bais": cr.zeros(3)}
    refused(
        lambda: net.load_state_dict(state),
        "Sequential.load_state_dict",
        "0.bias: missing in the given state",
        "0.bais: not known here; the nearest name here is 0.bias",
        "strict=False",
    )
    refused(
        lambda: net.load_state_dict({"0.weight": cr.zeros(2, 3), "0.bias": cr.zeros(3)}),
        "0.weight: shape (2, 3) is given, (3, 2) is expected",
    )
    refused(lambda: net.load_state_dict([1]), "takes a mapping", "cr.load(path)")
    assert net[0].weight.tolist() == before
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["0.bias"] and result.unexpected_keys == ["0.bais"]
    assert "missing_keys=['0.bias']" in repr(result)
    assert net[0].weight.tolist() == [[0.0, 0.0]] * 3


def test_deep_copies_are_independent() -> None:
    net = Net()
    twin = copy.deepcopy(net)
    assert type(twin.scale) is nn.Parameter and twin.scale.requires_grad
    with cr.no_grad():
        twin.scale.mul_(5)
    assert net.scale.item() == 1.0
    x = cr.ones(1, 3)
    np.testing.assert_allclose(twin(x).detach().numpy(), 5 * net(x).detach().numpy(), rtol=1e-6)
    assert [name for name, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]


def test_sequential_is_a_list() -> None:
    a, b, c = nn.Linear(1, 1), nn.ReLU(), nn.Tanh()
    row = nn.Sequential(a, b)
    assert len(row) == 2 and row[0] is a and row[-1] is b and list(row) == [a, b]
    row.append(c)
    assert row[2] is c and list(row[1:]) == [b, c]
    row.insert(0, c)
    assert list(row) == [c, a, b, c] and list(row._modules) == ["0", "1", "2", "3"]
    del row[0]
    assert list(row) == [a, b, c]
    row[1] = c
    assert list(row) == [a, c, c]
    assert row.pop() is c and list(row) == [a, c]
    assert list(row + nn.Sequential(b)) == [a, c, b]
    del row[1:]
    assert list(row) == [a]
    row += [b]
    assert list(row) == [a, b]
    with pytest.raises(IndexError, match="Sequential holds 2 modules; there is none at 2"):
        row[2]


def test_module_dict() -> None:
    d = nn.ModuleDict([("a", nn.ReLU())])
    d["b"] = nn.Tanh()
    assert list(d) == list(d.keys()) == ["a", "b"] and "a" in d and len(d) == 2
    assert [type(module).__name__ for module in d.values()] == ["ReLU", "Tanh"]
    assert type(d.pop("a")).__name__ == "ReLU" and [name for name, _ in d.items()] == ["b"]
    d.clear()
    assert len(d) == 0
    refused(lambda: d(1), "ModuleDict only holds modules", "nn.Sequential")


def test_parameter_list() -> None:
    weights = nn.ParameterList([cr.zeros(2)])
    weights.append(nn.Parameter(cr.ones(3)))
    assert [tuple(weight.shape) for weight in weights] == [(2,), (3,)]
    weights[0] = cr.ones(2)
    assert weights[0].tolist() == [1.0, 1.0] and len(weights) == 2
    assert "(0): Parameter of chainrule.float32, size (2,)" in repr(weights)


def test_attributes() -> None:
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert layer.bias is None and list(layer.state_dict()) == ["weight"]
    layer.bias = nn.Parameter(cr.zeros(2))
    assert "bias" in dir(layer)
    del layer.bias
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'bias'"):
        layer.bias  # noqa: B018
    layer.bias = "plain"
    layer.bias = nn.ReLU()
    assert type(layer.bias).__name__ == "ReLU" and "bias" not in layer.__dict__
    layer.bias = None
    with pytest.raises(AttributeError, match=r"no module 'a.b': no 'a' below, Linear has bias"):
        layer.get_submodule("a.b")
    with pytest.raises(AttributeError, match="no parameter 'w': the parameters there are weight"):
        layer.get_parameter("w")


def test_errors_of_registration() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    refused(Late, "Late: cannot register 'layer'", "super().__init__() first in Late.__init__")
    layer = nn.Linear(2, 2)
    refused(
        lambda: setattr(layer, "weight", cr.zeros(2, 2)),
        "Linear.weight is registered as a parameter; it cannot be assigned a Tensor",
        "nn.Parameter(value)",
        "self.weight.data = value",
    )
    net = nn.Sequential(nn.ReLU())
    refused(lambda: setattr(net, "0", 3), "registered as a module; it cannot be assigned a int")
    net.register_buffer("mean", cr.zeros(1))
    refused(lambda: setattr(net, "mean", 3.0), "registered as a buffer", "a float")
    refused(lambda: net.register_buffer("a.b", None), "must not contain '.'")
    refused(lambda: net.register_buffer("", None), "it is empty")
    refused(lambda: net.register_buffer("forward", None), "Sequential.forward exists already")
    refused(lambda: net.register_parameter("mean", None), "registered already, as another kind")
    refused(lambda: net.add_module("x", 3), "cannot be assigned a int", "assign a module")
    refused(lambda: net.add_module(3, nn.ReLU()), "a int was given, a str is expected")
    refused(lambda: nn.Module()(1), "Module has no forward", "define `def forward(self, x)`")
    refused(lambda: nn.ModuleList([nn.ReLU()])(1), "ModuleList only holds modules")


def test_a_buffer_assigned_in_a_compiled_step_is_written() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", cr.zeros(1))

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            self.seen = self.seen + 1
            return x * self.seen

    counter = Counter()
    compiled = cr.compile(lambda x: counter(x), engine="numpy")
    assert [compiled(cr.ones(1)).item() for _ in range(3)] == [1.0, 2.0, 3.0]
    assert counter.seen.item() == 3.0
