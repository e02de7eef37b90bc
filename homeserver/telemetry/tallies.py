"""Counters and histograms for what happens on the loop thousands of times a second.

The ones of prometheus_client take a lock for each observation. These belong to one thread and cost an addition; they
are turned into series when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Tally:
    """How often something happened."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Tallies(Collector):
    """A counter by labels."""

    def __init__(self, name: str, help: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self.name = name
        self.label_names = tuple(labels)
        self._help = help
        self._tallies: dict[tuple[str, ...], Tally] = {}
        registry.register(self)

    def labels(self, *values: str) -> Tally:
        """The one for these values of the labels, made when it is first asked for."""
        return self._tallies.setdefault(values, Tally())

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self.name, self._help, labels=self.label_names)
        for values, tally in self._tallies.items():
            family.add_metric(values, tally.value)
        yield family


class Times:
    """How long something took, each time, by upper bounds in seconds."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        # The last is for what took longer than all bounds.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds


class Timings(Collector):
    """A histogram by one label."""

    def __init__(self, name: str, help: str, label: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self.name = name
        self.label_names = (label,)
        self._help = help
        self._bounds = bounds
        self._times: dict[str, Times] = {}
        registry.register(self)

    def labels(self, value: str) -> Times:
        """The one for a value of the label, made when it is first asked for."""
        return self._times.setdefault(value, Times(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self.name, self._help, labels=self.label_names)
        names = [*map(str, self._bounds), "+Inf"]
        for value, times in self._times.items():
            so_far = 0
            buckets = []
            for name, count in zip(names, times.counts, strict=True):
                so_far += count
                buckets.append((name, float(so_far)))
            family.add_metric([value], buckets, times.total)
        yield family
