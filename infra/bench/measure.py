"""Runs commands in turn, so that a slow moment of the machine meets all of them, and prints medians and ratios."""

import os
import platform
import statistics
import subprocess
import sys
import time


def run(command):
    """Runs a command to its end; its wall seconds, CPU seconds and peak MiB."""
    # What an earlier command left to be written is not this one's, not even if it waits for the disk.
    os.sync()
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - started
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def alternate(commands, runs):
    """What `commands` measure, called by name in turn; the first round is a warm-up. Medians, by name."""
    figures = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            figure = command()
            if number:
                figures[name].append(figure)
    return {name: [statistics.median(column) for column in zip(*all)] for name, all in figures.items()}


def judge(headline, verdicts):
    """Says of each target, what was measured, and whether it was met."""
    print(f"{headline}: " + "; ".join(f"{what}: {got}, {'met' if met else 'not met'}" for what, got, met in verdicts))


def print_table(median, rows, sizes, first="tier"):
    """One line per command. `sizes` are bytes of output, by name; times are also in multiples of the first one's."""
    relative = f"time, {first} = 1"
    print(f"{'':16}{'seconds':>9}{'rows/s':>12}{'CPU s':>8}{'peak MiB':>10}{'output MiB':>12}{relative:>16}")
    for name, (wall, cpu, peak) in median.items():
        ratio = wall / median[first][0]
        print(f"{name:16}{wall:9.2f}{rows / wall:12,.0f}{cpu:8.1f}{peak:10.0f}{sizes[name] / 2**20:12.1f}{ratio:16.2f}")


def tree_bytes(folder):
    """Bytes of the files below a folder."""
    return sum(os.path.getsize(os.path.join(path, file)) for path, _, files in os.walk(folder) for file in files)


def machine():
    """The machine in one line."""
    with open("/proc/cpuinfo") as info:
        model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}"
