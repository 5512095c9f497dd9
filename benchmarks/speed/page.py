"""The results as lines on a terminal and as a page of the documentation."""

from __future__ import annotations

from typing import Any

OURS = ("chainrule fit", "chainrule step")
ORDER = (
    "PyTorch eager",
    "torch.compile",
    "JAX step",
    "JAX loop",
    "scikit-learn",
    "chainrule step",
    "chainrule fit",
)


def micro(value: float) -> str:
    """Microseconds with three figures, or milliseconds from ten thousand on."""
    if value >= 10_000:
        return f"{value / 1000:.3g} ms"
    return f"{value:.3g} us" if value < 1000 else f"{value:.0f} us"


def times(numbers: dict[str, float]) -> str:
    """Median with the least and most round."""
    return f"{micro(numbers['median'])} ({micro(numbers['least'])} to {micro(numbers['most'])})"


def ratios(row: dict[str, Any], label: str) -> tuple[float, float, str]:
    """How many of a side's steps fit into one of PyTorch's, of the best peer's, and who that is."""
    mine = row["sides"][label]["median"]
    peers = {name: each["median"] for name, each in row["sides"].items() if name not in OURS}
    best = min(peers, key=lambda name: peers[name])
    return peers.get("PyTorch eager", float("nan")) / mine, peers[best] / mine, best


def number(value: float) -> str:
    """A ratio with a fitting number of figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def line_of(part: str, row: dict[str, Any]) -> str:
    """One row on a terminal."""
    if part == "memory":
        return f"{row['case']:36} {row['side']:16} {row['bytes'] / 1e6:8.1f} MB"
    if part == "layers":
        theirs, ours = (row["sides"][n] for n in ("PyTorch eager", "chainrule fit"))
        ratio = number(theirs["median"] / ours["median"])
        first, second = row["losses"]
        megabytes = f"{ours['bytes'] / 1e6:.0f} / {theirs['bytes'] / 1e6:.0f} MB"
        return (
            f"{row['case']:34} {times(ours)} / {times(theirs)}: {ratio}x (goal {row['goal']}),"
            f" compiled in {row['compiling']:.2f} s, {megabytes}, losses {first:.4f} {second:.4f}"
        )
    name = row["case"] if "case" in row else f"fnn, {row['rows']} rows"
    lines = [f"{name}, {row['threads']} threads (peak {row['peak']:.0f} GFLOP/s)"]
    for label, each in sorted(row["sides"].items(), key=lambda item: ORDER_OF.get(item[0], 99)):
        text = f"    {label:18} {times(each):40} {100 * each['share']:5.1f} % of peak"
        if label in OURS:
            torch, best, who = ratios(row, label)
            goal = row["goal"].get(label)
            text += f"  {number(torch)}x PyTorch" + (f" (goal {number(goal)})" if goal else "")
            text += f", {number(best)}x {who}"
        if each.get("loss") is not None:
            text += f"  loss {each['loss']:.5f}"
        if each.get("first") is not None:
            text += f"  first {each['first']:.2f} s"
        lines.append(text)
    return "\n".join(lines)


ORDER_OF = {name: place for place, name in enumerate(ORDER)}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def page(result: dict[str, Any]) -> str:
    """The page of one run."""
    made = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    parts = [
        "# Benchmarks",
        f"{result['heading']}",
        f"Made by `make bench` (`python -m benchmarks speed --save`); {made}.",
        _HOW,
    ]
    for threads in sorted({row["threads"] for row in result["training"]}, reverse=True):
        rows = [row for row in result["training"] if row["threads"] == threads]
        many = "s" if threads > 1 else ""
        parts += [f"## Training, {threads} thread{many}: `Trainer.fit`", _ratio_table(rows, "fit")]
        parts += [
            f"## Training, {threads} thread{many}: a Python loop over a compiled step",
            _ratio_table([row for row in rows if row["goal"]["chainrule step"]], "step"),
            f"## Training, {threads} thread{many}: everybody's microseconds a step",
            _time_table(rows),
        ]
    if result["training"]:
        parts += ["## The first call, and the losses", _FIRST, _first_table(result["training"])]
    if result.get("layers"):
        parts += ["## Layers: convolution, recurrence, attention", _LAYERS]
        parts += [_layer_table(result["layers"])]
    if result["sizes"]:
        parts += ["## Other batch sizes", _SIZES, _size_table(result["sizes"])]
    if result["inference"]:
        parts += ["## Inference: fnn 784-100-10 through Python", _inference(result["inference"])]
    if result["memory"]:
        parts += ["## Memory", _MEMORY, _memory(result["memory"])]
    return "\n\n".join(parts) + "\n"


_HOW = """Every side trains the same network from the same weights with the same update rule and
batch size, and they take turns within one process; a figure is the median over rounds, the least
and most round in brackets. `Trainer.fit` shuffles, gathers and measures its metrics; PyTorch's
plain loop, torch.compile, JAX and the compiled step take slices in order. With one thread every
process is held to one processor. The share of the peak counts the multiplications and additions of
the matrix products alone, of the peak that a loop of fused multiply-adds in registers reached in
the same run. Compare only figures of one run: neighbours on the machine slow all sides, not all
alike."""
_FIRST = """What the first call takes beyond its steps (tracing and compiling, with empty caches on
the disk), and the mean loss of the first ten steps from the same weights on the same batches: where
no random numbers are drawn, all sides must agree."""
_SIZES = """At sizes that suit nobody `Trainer.fit` should still not be slower."""
_LAYERS = """`Trainer.fit` beside PyTorch's plain loop, plain gradient descent from the same
weights. Memory is what the process of each side grows by. Compiling is what the first call takes
beyond its steps, with the cache on the disk switched off."""
_MEMORY = """What a training adds to the peak resident size that its process had reached before, by
its imports and by the data and first weights that both sides are given. A training that fits into
what was free again by then adds 0.0: a small figure is a lower bound."""


def _ratio_table(rows: list[dict[str, Any]], which: str) -> str:
    label = f"chainrule {which}"
    lines = []
    for row in rows:
        torch, best, who = ratios(row, label)
        goal = row["goal"][label]
        mine = row["sides"][label]
        lines.append(
            (
                row["case"],
                str(row["batch"]),
                times(row["sides"]["PyTorch eager"]),
                times(mine),
                f"**{number(torch)}**",
                number(goal) if goal and row["threads"] > 1 else "",
                f"{number(best)} ({who})",
                f"{100 * mine['share']:.0f} %",
            )
        )
    head = ("network", "batch", "PyTorch eager", label, "times PyTorch", "goal")
    return table((*head, "times the best peer", "of peak"), lines)


def _time_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            row["case"],
            *(micro(row["sides"][n]["median"]) if n in row["sides"] else "" for n in ORDER),
        )
        for row in rows
    ]
    return table(("network", *ORDER), lines)


def _first_table(rows: list[dict[str, Any]]) -> str:
    most = max(row["threads"] for row in rows)
    lines = []
    for row in rows:
        if row["threads"] != most:
            continue
        losses = {n: each["loss"] for n, each in row["sides"].items() if each["loss"] is not None}
        low, high = min(losses.values()), max(losses.values())
        agree = f"{low:.5f} to {high:.5f}" + (" (random)" if row["random"] else "")
        first = (f"{row['sides'][n]['first']:.2f} s" if n in row["sides"] else "" for n in ORDER)
        lines.append((row["case"], *first, agree))
    return table(("network", *ORDER, "losses"), lines)


def _layer_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        theirs, ours = (row["sides"][n] for n in ("PyTorch eager", "chainrule fit"))
        lines.append(
            (
                row["case"],
                str(row["batch"]),
                times(theirs),
                times(ours),
                f"**{number(theirs['median'] / ours['median'])}**",
                number(row["goal"]),
                f"{row['compiling']:.2f} s",
                f"{theirs['bytes'] / 1e6:.0f} / {ours['bytes'] / 1e6:.0f} MB",
            )
        )
    head = ("network", "batch", "PyTorch eager", "chainrule fit", "times PyTorch", "goal")
    return table((*head, "compiling", "memory, PyTorch / chainrule"), lines)


def _size_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        torch, _, _ = ratios(row, "chainrule fit")
        sides = row["sides"]
        both = (times(sides[n]) for n in ("PyTorch eager", "chainrule fit"))
        lines.append((row["case"], *both, f"**{number(torch)}**"))
    return table(("network", "PyTorch eager", "chainrule fit", "times PyTorch"), lines)


def _inference(rows: list[dict[str, Any]]) -> str:
    lines = [
        (
            f"{row['rows']:,}",
            str(row["threads"]),
            *(
                f"{times(each)}, {100 * each['share']:.0f} % of peak"
                for each in row["sides"].values()
            ),
        )
        for row in rows
    ]
    return table(("rows", "threads", *rows[0]["sides"]), lines)


def _memory(rows: list[dict[str, Any]]) -> str:
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["case"], {})[row["side"]] = row["bytes"]
    lines = [
        (case, *(f"{each[n] / 1e6:.1f} MB" for n in ("PyTorch eager", "chainrule fit")))
        for case, each in found.items()
    ]
    return table(("network", "PyTorch eager", "chainrule fit"), lines)
