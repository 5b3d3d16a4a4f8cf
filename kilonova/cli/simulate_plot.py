"""The picture of a simulation. The one place that imports matplotlib, which ``kilonova[plot]`` brings."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kilonova.scheduler.simulator import Results


def draw(results: Results, path: Path) -> None:
    """Write a PNG: what is in use of each host, the balance over time, and placements a CPU second."""
    figure = Figure(figsize=(10, 12), layout="constrained")
    FigureCanvasAgg(figure)
    by_host, balance, speed = figure.subplots(3, 1)
    figure.suptitle(
        f"{results.placed} of {results.servers} servers placed on {results.hosts} hosts "
        f"(seed {results.seed})"
    )
    for name, parts in results.used_by_host.items():
        by_host.plot(sorted(parts), label=name)
    by_host.set(
        title="In use",
        xlabel="hosts, the emptiest first",
        ylabel="part of the host",
        ylim=(0, 1.02),
    )
    by_host.legend()
    times = [sample.at for sample in results.samples]
    balance.fill_between(
        times,
        [sample.fewest for sample in results.samples],
        [sample.most for sample in results.samples],
        alpha=0.4,
        label="emptiest to fullest",
    )
    mean = [sample.servers / results.hosts for sample in results.samples]
    balance.plot(times, mean, label="mean")
    balance.set(title="Balance", xlabel="simulated seconds", ylabel="servers on a host")
    balance.legend()
    placed = [sample.servers for sample in results.samples]
    speed.plot(placed, [sample.placed_per_cpu_second for sample in results.samples])
    speed.set(
        title="Placements", xlabel="servers in the fleet", ylabel="a CPU second", ylim=(0, None)
    )
    figure.savefig(path, dpi=100)
