"""The colours of every picture: one table of roles, for light paper and for dark.

Blue is what flows forward (values), orange what flows back (partial derivatives); the pair stays
apart for people who do not tell red from green. The signs of numbers in small pictures are teal
(plus) and violet (minus), the same on light and dark, as they are baked into pixels. Text roles
reach a contrast of 4.5 to 1 on the paper they stand on, light and dark (tested).
"""

from __future__ import annotations

LIGHT: dict[str, str] = {
    "paper": "#ffffff",
    "panel": "#f3f5f8",
    "ink": "#1a1f26",
    "muted": "#59636f",
    "line": "#c3cad3",
    "grid": "#e4e8ed",
    "forward": "#0a5ec2",
    "backward": "#b5470b",
    "forward-soft": "#dfecfb",
    "backward-soft": "#fbe8da",
    "plus": "#0f9488",
    "minus": "#a24ad8",
    "good": "#18774a",
    "warning": "#8a6100",
    "bad": "#bf2a36",
    "series-1": "#0a5ec2",
    "series-2": "#b5470b",
    "series-3": "#18774a",
    "series-4": "#7a3cc0",
    "series-5": "#a8266e",
    "series-6": "#5d6672",
}

DARK: dict[str, str] = {
    "paper": "#12161b",
    "panel": "#1c222a",
    "ink": "#e9ecf0",
    "muted": "#a3adb9",
    "line": "#46505d",
    "grid": "#2a323c",
    "forward": "#74b4ff",
    "backward": "#ffa664",
    "forward-soft": "#17304f",
    "backward-soft": "#47291a",
    "plus": "#0f9488",
    "minus": "#a24ad8",
    "good": "#5fcf94",
    "warning": "#e5b94a",
    "bad": "#ff858b",
    "series-1": "#74b4ff",
    "series-2": "#ffa664",
    "series-3": "#5fcf94",
    "series-4": "#c3a0ff",
    "series-5": "#ff8cc4",
    "series-6": "#a3adb9",
}

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif'


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--cr-{role}:{colour};" for role, colour in colours.items())


def variables_css(selector: str) -> str:
    """Return the CSS that defines the colour variables on `selector`, light and dark."""
    return (
        f"{selector}{{{_variables(LIGHT)}}}\n"
        f"@media (prefers-color-scheme: dark){{{selector}{{{_variables(DARK)}}}}}\n"
    )


def picture_css() -> str:
    """Return the CSS classes that pictures use.

    Each colour is given twice: a reader that does not know CSS variables keeps the light one.
    """
    rules = [
        f".cr{{font-family:{FONT};max-width:100%;height:auto}}",
        ".cr text{font-variant-numeric:tabular-nums}",
        ".cr .px{image-rendering:pixelated}",
        "@media (prefers-color-scheme: dark){.cr .mono{filter:invert(1)}}",
    ]
    for role, colour in LIGHT.items():
        rules.append(f".cr .f-{role}{{fill:{colour};fill:var(--cr-{role},{colour})}}")
        rules.append(f".cr .s-{role}{{stroke:{colour};stroke:var(--cr-{role},{colour})}}")
    return "\n".join(rules)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1, from 1 to 21)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
