# SPDX-License-Identifier: GPL-2.0
"""A line chart with two logarithmic axes as SVG, for kit/bench."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 90, 270, 70, 70
COLORS = ["#c0392b", "#e67e22", "#7f8c8d", "#2980b9", "#27ae60", "#8e44ad", "#16a085", "#2c3e50"]


def size_name(size):
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} B"


def text(x, y, words, size=14, anchor="middle", color="#222", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{color}"'
            f'{extra}>{escape(words)}</text>')


def spread(places, gap):
    """Move labels apart that would cover each other; {name: y} -> {name: y}."""
    result, last = {}, -math.inf
    for name, y in sorted(places.items(), key=lambda item: item[1]):
        last = max(y, last + gap)
        result[name] = last
    return result


def line_chart(title, subtitle, y_title, series):
    """series: {name: {x: y}}, in the order of importance; returns the SVG."""
    xs = sorted({x for points in series.values() for x in points})
    ys = [y for points in series.values() for y in points.values()]
    low, high = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))
    plot_w, plot_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place_x(x):
        return LEFT + plot_w * math.log2(x / xs[0]) / math.log2(xs[-1] / xs[0])

    def place_y(y):
        return TOP + plot_h * (1 - math.log10(y / low) / math.log10(high / low))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'font-family="sans-serif"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           text(LEFT, 30, title, 20, "start"), text(LEFT, 52, subtitle, 13, "start", "#555")]
    for power in range(round(math.log10(low)), round(math.log10(high)) + 1):
        for factor in (1, 2, 5):
            value = factor * 10 ** power
            if not low <= value <= high:
                continue
            y = place_y(value)
            out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + plot_w}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(text(LEFT - 8, y + 5, f"{value:,}", 13, "end"))
    for x in xs:
        out.append(text(place_x(x), TOP + plot_h + 22, size_name(x), 13))
    out.append(text(LEFT + plot_w / 2, HEIGHT - 18, "size of one I/O"))
    middle = TOP + plot_h / 2
    out.append(text(22, middle, y_title, extra=f' transform="rotate(-90 22 {middle:.1f})"'))
    labels = spread({name: place_y(points[max(points)]) for name, points in series.items()}, 18)
    for number, (name, points) in enumerate(series.items()):
        color = COLORS[number % len(COLORS)]
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in sorted(points.items()))
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2.5"/>')
        out += [f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3.5" fill="{color}"/>'
                for x, y in points.items()]
        out.append(text(LEFT + plot_w + 14, labels[name] + 5, name, 13, "start", color))
    return "\n".join(out + ["</svg>\n"])
