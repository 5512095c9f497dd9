"""The page of a report: sections of HTML around the pictures, style and script inside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from ..explain._blame import UPHILL, change_lines, message_chart, share_chart
from ..explain._charts import matrix_chart
from ..explain._curves import PREFIX, chart
from ..explain._drawing import Array, Drawing
from ..explain._numbers import percent, plural, show
from ..explain._svg import png_address, to_svg
from ..explain._theme import picture_css, variables_css
from ..train.findings import Finding

WIDE, NARROW = 520.0, 300.0
MOST_CLASSES = 20

# Icons of the stepper, drawn: symbols of this kind are missing from many fonts.
ICONS = {
    "first": "M5 4h2v12H5zM16 4v12l-8-6z",
    "back": "M14 4v12l-9-6z",
    "play": "M6 4l10 6-10 6z",
    "next": "M6 4l10 6-10 6z",
    "last": "M13 4h2v12h-2zM4 4l8 6-8 6z",
}


def page(facts: dict[str, Any]) -> str:
    """Return the whole page of a report."""
    sections = [
        ("graph", "One example, forward and back", _graph(facts)),
        ("weights", "Three factors of a weight", _weights(facts)),
        ("blame", "The way of the error back", _blame(facts)),
        ("curves", "Curves", _curves(facts)),
        ("mistakes", "Right and wrong", _mistakes(facts)),
        ("findings", "Findings", _findings(facts["findings"])),
        ("layers", "Layers", _layers(facts)),
    ]
    shown = [(key, title, body) for key, title, body in sections if body]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in shown)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{escape(title)}'
        f"</h2>{content}</section>"
        for key, title, content in shown
    )
    return "".join((
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(facts['title'])}</title>\n"
        f"<style>\n{variables_css(':root')}{picture_css()}\n{_asset('page.css')}</style>\n"
        "</head>\n<body>\n",
        _header(facts),
        f'<nav aria-label="Parts of this page">{links}</nav>\n<main>{body}</main>\n',
        _footer(facts),
        _json("graph-data", facts["graph"]),
        _json("weights-data", facts["weights"]),
        f"<script>\n{_asset('page.js')}</script>\n</body>\n</html>\n",
    ))  # fmt: skip


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _json(key: str, data: Any) -> str:
    # "</" would end the script element early.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return f'<script type="application/json" id="{key}">{text}</script>\n'


def both(draw: Callable[[float], Drawing]) -> str:
    """Return a picture twice, for wide and for narrow screens; the style shows one of them."""
    wide, narrow = (to_svg(draw(width), standalone=False) for width in (WIDE, NARROW))
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


# --- head and foot ---------------------------------------------------------------------------


def _header(facts: dict[str, Any]) -> str:
    cards = "".join(
        f'<div class="card"><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
        for name, value in _cards(facts)
    )
    title = escape(facts["title"])
    return f"<header><h1>{title}</h1><p>{_lead(facts)}</p><dl>{cards}</dl></header>\n"


def _lead(facts: dict[str, Any]) -> str:
    found, run = facts["answers"], facts["run"]
    graves = [one for one in facts["findings"] if one.severity != "info"]
    worth = f"{plural(len(graves), 'finding')} to look at" if graves else "nothing to worry about"
    if found is not None:
        right = int((found.truth == found.guess).sum())
        return (
            f"After {plural(run.epochs, 'epoch')} the network gets <strong>{right:,} of"
            f" {facts['examples']:,}</strong> examples right that were kept aside"
            f" ({percent(found.accuracy, 2)}); {worth}."
        )
    loss = run.history.get(PREFIX + "loss", run.history.get("loss", np.zeros(0)))
    last = f"the loss is {show(loss[-1], 4)}" if len(loss) else "no epoch was finished"
    return f"After {plural(run.epochs, 'epoch')} {last}; {worth}."


def _cards(facts: dict[str, Any]) -> list[tuple[str, str]]:
    run, found = facts["run"], facts["answers"]
    cards = [("accuracy", percent(found.accuracy, 2))] if found is not None else []
    cards += [
        ("parameters", f"{facts['parameters']:,}"),
        ("epochs", f"{run.epochs:,}"),
        ("steps", f"{run.steps:,}"),
        ("training took", f"{run.seconds:.2f} s"),
        ("engine", str(run.config.get("engine", "eager"))),
    ]
    return cards


def _footer(facts: dict[str, Any]) -> str:
    run = facts["run"]
    used = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    settings = ", ".join(
        f"{k} {v}"
        for k, v in run.config.items()
        if isinstance(v, (int, str)) and "\n" not in str(v) and len(str(v)) < 60
    )
    return (
        f"<footer><p>Made {escape(facts['made'])} by chainrule, from its own computation; the page"
        f" loads nothing.</p><p>{escape(used)}. {escape(run.processor)}. {escape(settings)}.</p>"
        "</footer>\n"
    )


# --- one example -----------------------------------------------------------------------------


def _graph(facts: dict[str, Any]) -> str:
    svg = to_svg(facts["drawing"], standalone=False)
    example = facts["example"]
    picture = ""
    if facts["images"] is not None:
        source = png_address(facts["images"][example["index"]])
        picture = f'<img class="px mono tile" alt="the example" src="{source}" width="96">'
    chances = "".join(
        f'<li><span>{escape(name)}</span><meter min="0" max="1" value="{chance:.6f}"></meter>'
        f"<span>{percent(chance)}</span></li>"
        for name, chance in example["chances"][:MOST_CLASSES]
    )
    truth = escape(str(example["truth"]))
    guess = escape(example.get("guess", ""))
    verdict = (
        f", and the network says {guess}" + (" too" if guess == truth else "") if guess else ""
    )
    output = escape(facts["graph"]["output"])
    return f"""
<p>Example {example["index"]} of those kept aside goes through the network: values flow forward
(blue) to the cost {output}, then its partial derivatives flow back (orange). Step with the buttons
or the arrow keys; click a node to see its numbers, and a number to see how it is computed.</p>
<div class="example">{picture}<div><p>It is <strong>{truth}</strong>{verdict}.</p>
<ul class="chances">{chances}</ul></div></div>
<div class="stepper" id="stepper">
<div class="controls" role="toolbar" aria-label="Step through the graph">
{_button("first", "to the start")}{_button("back", "one step back")}
{_button("play", "play", "play")}{_button("next", "one step on", "next")}
{_button("last", "to the end")}
<input type="range" id="step-slider" min="0" value="0" aria-label="step">
<output id="step-text" aria-live="polite"></output>
</div>
<div class="stage"><div class="graph" id="graph-scroll" tabindex="0"
 aria-label="the graph, scrolls">{svg}</div>
<div class="panel" id="node-panel" aria-live="polite"><p class="muted">Step on to begin.</p></div>
</div></div>"""


def _button(go: str, label: str, text: str = "") -> str:
    icon = f'<svg viewBox="0 0 20 20" width="18" height="18"><path d="{ICONS[go]}"/></svg>'
    words = f"<span>{text}</span>" if text else ""
    inside = words + icon if go == "next" else icon + words
    kind = ' class="main"' if go == "next" else ""
    return f'<button type="button" data-go="{go}" aria-label="{label}"{kind}>{inside}</button>'


# --- weights ---------------------------------------------------------------------------------


def _weights(facts: dict[str, Any]) -> str:
    if not facts["weights"]:
        return ""
    tabs = "".join(
        f'<button type="button" data-layer="{i}" aria-pressed="false">{escape(layer["name"])}'
        "</button>"
        for i, layer in enumerate(facts["weights"])
    )
    output = escape(facts["graph"]["output"])
    return f"""
<p>The partial derivative of {output} with respect to a weight is the product of three numbers: the
error that comes back to the unit, the slope of its activation, and the input that the weight is
multiplied with. These are the numbers of the example above. Choose a layer, a unit and an
input; the pictures can be clicked.</p>
<div class="controls" role="toolbar" aria-label="Choose a weight">{tabs}
<label>unit <input type="number" id="weight-unit" min="0" value="0"></label>
<label>input <input type="number" id="weight-input" min="0" value="0"></label></div>
<div class="factors" id="factors" aria-live="polite"></div>
<div class="pickers">
<figure><canvas id="units" tabindex="0" role="img" aria-label="error times slope of each unit">
</canvas><figcaption id="units-caption"></figcaption></figure>
<figure><canvas id="inputs" tabindex="0" role="img" aria-label="weights of the unit"></canvas>
<figcaption id="inputs-caption"></figcaption></figure>
<figure><canvas id="given" tabindex="0" role="img" aria-label="the inputs"></canvas>
<figcaption id="given-caption"></figcaption></figure>
<figure><canvas id="slopes" tabindex="0" role="img" aria-label="partial derivatives of the unit's
 weights"></canvas><figcaption id="slopes-caption"></figcaption></figure>
</div>"""


# --- the step --------------------------------------------------------------------------------


def _blame(facts: dict[str, Any]) -> str:
    data = facts["blame"]
    if data is None:
        return ""
    lines = change_lines(data)
    uphill = f" Here {UPHILL}." if UPHILL in lines else ""
    rows = "".join(
        f"<tr><td>{escape(r['layer'])}</td><td>{show(r['gradient'], 4)}</td>"
        f"<td>{show(r['step'], 4)}</td><td>{show(r['gain'], 4)}</td>"
        f"<td>{percent(r['share'])}</td></tr>"
        for r in data["layers"]
    )
    heads = "".join(
        f"<th>{h}</th>" for h in ("layer", "length of g", "length of Δθ", "-g·Δθ", "share")
    )
    return f"""
<p>Backpropagation computes: one pass at the old weights leaves a message ∂J/∂a at every layer, the
last layer first. Then the optimizer updates: one {escape(data["optimizer"])} step on
{plural(data["examples"], "training example")} changes all layers at once. A layer's share is its
part of the change of J that the step promises, -g·Δθ over the sum.</p>
<div class="pair"><div><h3>Length of the message at each layer's output</h3>
{both(lambda w: message_chart(data, w, headed=False))}</div>
<div><h3>Each layer's share of the step</h3>
{both(lambda w: share_chart(data, w, headed=False))}</div></div>
<div class="scroll"><table><caption>The step, layer by layer</caption><thead><tr>{heads}</tr>
</thead><tbody>{rows}</tbody></table></div>
<dl class="change">{"".join(_change(line) for line in _changes(data))}</dl>
<p class="muted">{escape(lines[0])}: what the slopes alone predict and what the cost did differ by
the remainder, which comes from curvature.{escape(uphill)}</p>"""


def _changes(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("J before", show(data["cost_before"])),
        ("J after", show(data["cost_after"])),
        ("predicted change", show(data["predicted"], 4)),
        ("actual change", show(data["actual"], 4)),
        ("remainder", show(data["remainder"], 4)),
    ]


def _change(line: tuple[str, str]) -> str:
    return f'<div class="card"><dt>{escape(line[0])}</dt><dd>{escape(line[1])}</dd></div>'


# --- curves, mistakes, findings, layers ----------------------------------------------------------


def _curves(facts: dict[str, Any]) -> str:
    history = {key: np.asarray(series, float) for key, series in facts["run"].history.items()}
    names = [key for key, series in history.items() if not key.startswith(PREFIX) and len(series)]
    charts = "".join(f"<div>{_curve(name, history)}</div>" for name in names)
    return f'<div class="pair">{charts}</div>' if charts else ""


def _curve(name: str, history: dict[str, Array]) -> str:
    return both(lambda width: chart(name, history, width))


def _mistakes(facts: dict[str, Any]) -> str:
    found, names = facts["answers"], facts["names"]
    if found is None:
        return ""
    parts = []
    if len(names) <= MOST_CLASSES:
        counts = found.counts()
        title = "Confusion matrix: true classes in rows, predicted ones in columns"
        parts.append(f"<div>{both(lambda w: _matrix(counts, names, title, w))}</div>")
    wrong = int((found.truth != found.guess).sum())
    pictures = _mistake_pictures(facts)
    if pictures:
        heading = f"<h3>The worst of {plural(wrong, 'mistake')}</h3>"
        parts.append(f'<div>{heading}<div class="tiles">{pictures}</div></div>')
    text = (
        f"<p>{plural(wrong, 'mistake')} in {plural(len(found.truth), 'example')}. Right answers lie"
        " on the diagonal; the worst mistakes are those in which the truth got least"
        " probability.</p>"
    )
    return f'{text}<div class="pair">{"".join(parts)}</div>'


def _matrix(counts: Array, names: Sequence[str], title: str, width: float) -> Drawing:
    cell = min(36.0, (width - 60) / max(len(names), 1))
    return matrix_chart(counts, names, title=title, cell=cell, description=title)


def _mistake_pictures(facts: dict[str, Any]) -> str:
    found, images, names = facts["answers"], facts["images"], facts["names"]
    if images is None:
        return ""
    tiles = []
    for index in facts["mistakes"]:
        truth, guess = int(found.truth[index]), int(found.guess[index])
        sure = percent(float(found.chances[index, guess]))
        chance = percent(float(found.chances[index, truth]))
        what = f"{escape(names[truth])} taken for {escape(names[guess])}"
        tiles.append(
            f'<figure><img class="px mono" alt="{what}" src="{png_address(images[index])}">'
            f"<figcaption><strong>{what}</strong><br>{escape(names[guess])}: {sure}<br>"
            f"{escape(names[truth])}: {chance}</figcaption></figure>"
        )
    return "".join(tiles)


def _findings(found: Iterable[Finding]) -> str:
    cards = "".join(_finding(one) for one in found)
    nothing = (
        '<p class="finding good"><strong>Nothing found.</strong> Looked for a learning rate too'
        " large, dead units, identical units, overfitting, and inputs that repeat the target.</p>"
    )
    return cards or nothing


def _finding(one: Finding) -> str:
    place = f" in {escape(one.where)}" if one.where else ""
    rows = "".join(
        f"<tr><th>{escape(str(k))}</th><td>{escape(_evidence(v))}</td></tr>"
        for k, v in one.evidence.items()
    )
    return (
        f'<article class="finding {one.severity}"><h3><span>{one.severity}</span>'
        f" {escape(one.kind)}{place}</h3><p>{escape(one.why)}</p><p><strong>What to do:</strong>"
        f" {escape(one.remedy)}</p><details><summary>The numbers</summary>"
        f'<div class="scroll"><table>{rows}</table></div></details></article>'
    )


def _evidence(value: Any) -> str:
    if isinstance(value, float):
        return show(value, 4)
    if isinstance(value, list):
        return ", ".join(_evidence(inner) for inner in value)
    return str(value)


def _layers(facts: dict[str, Any]) -> str:
    heads = ("layer", "kind", "shape in", "shape out", "formula", "parameters")
    keys = ("name", "kind", "shape_in", "shape_out", "formula")
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{escape(str(row[k]))}</td>" for k in keys)
        + f"<td>{row['parameters']:,}</td></tr>"
        for row in facts["layers"]
    )
    total = f'<tr><th colspan="5">sum</th><td>{facts["parameters"]:,}</td></tr>'
    legend = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(meaning)}</dd></div>"
        for label, meaning in facts["graph"]["legend"].items()
    )
    picture = facts["network"]
    drawn = to_svg(picture, standalone=False) if picture is not None else ""
    words = (
        "<p>Units are circles, weights are lines: teal positive, violet negative, the stronger the"
        " darker; of wide layers the first and the last units.</p>"
        if drawn
        else ""
    )
    return (
        f'{words}<div class="scroll">{drawn}</div>'
        '<div class="scroll"><table class="layers"><caption>N is the number of examples</caption>'
        f"<thead><tr>{''.join(f'<th>{h}</th>' for h in heads)}</tr></thead><tbody>{rows}</tbody>"
        f"<tfoot>{total}</tfoot></table></div>"
        f'<details><summary>What the letters mean</summary><dl class="legend">{legend}</dl>'
        "</details>"
    )
