"""Draws what archive.txt and query.txt in a folder say as bars: picture.py FOLDER > FOLDER/speed.svg"""

import math
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

results = Path(sys.argv[1])
COLOURS = {"tier": "#2563eb", "duckdb": "#d97706", "datafusion": "#64748b", "polars": "#0d9488"}
# Of results/query.txt: those that a bucket answers, and two that a disk does.
QUESTIONS = ["a tenant's week", "a tenant's year", "group by user", "count by keys"]
LEFT, WIDTH, BAR, GAP = 190, 520, 16, 14


def archive():
    """Seconds by engine, for each format."""
    groups = []
    for line in (results / "archive.txt").read_text().splitlines():
        heading = re.match(r"(ndjson|csv|parquet)\b", line)
        figures = re.match(r"(tier|duckdb|polars) {2,}([\d.]+)", line)
        if heading:
            groups.append((f"archive 3M rows, {heading[1]}", {}))
        elif figures and groups:
            groups[-1][1][figures[1]] = float(figures[2])
    return groups


def queries():
    groups, name = {}, None
    for line in (results / "query.txt").read_text().splitlines():
        figures = re.match(r"(.{26})(tier|datafusion|duckdb)(?:-cli)? {2,}([\d.]+)", line)
        if figures:
            name = figures[1].strip() or name
            groups.setdefault(name, {})[figures[2]] = float(figures[3])
    return [(name, groups[name]) for name in QUESTIONS]


def bars(groups):
    """Lines of SVG, and the height that they take."""
    most = max(seconds for _, engines in groups for seconds in engines.values())
    least = min(seconds for _, engines in groups for seconds in engines.values())
    # Each step is ten times the last; the smallest bar is still seen.
    length = lambda seconds: WIDTH * (0.04 + 0.96 * math.log(seconds / least) / math.log(most / least))
    lines, y = [], 34
    for name, engines in groups:
        lines.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(engines) / 2 + 4}" text-anchor="end">{escape(name)}</text>')
        for engine, seconds in engines.items():
            width = length(seconds)
            lines.append(f'<rect x="{LEFT}" y="{y}" width="{width:.0f}" height="{BAR - 2}" fill="{COLOURS[engine]}"/>')
            lines.append(f'<text x="{LEFT + width + 6:.0f}" y="{y + 11}">{engine} {seconds:g} s</text>')
            y += BAR
        y += GAP
    return lines, y


lines, height = bars(archive() + queries())
print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" width="900" height="{height}" '
      'font-family="sans-serif" font-size="12">')
print('<rect width="100%" height="100%" fill="white"/>')
print('<text x="16" y="18" font-size="13">Seconds, less is better; lengths are logarithms</text>')
print("\n".join(lines))
print("</svg>")
