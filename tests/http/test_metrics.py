"""Metrics are what their reference says."""

import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from homeserver.telemetry import metrics
from homeserver.telemetry.tallies import Tallies, Timings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def _declared(metric: object) -> tuple[str, str, set[str]] | None:
    """Its name, its kind and its labels."""
    if isinstance(metric, Tallies):
        return f"{metric.name}_total", "counter", set(metric.label_names)
    if isinstance(metric, Timings):
        return metric.name, "histogram", set(metric.label_names)
    if isinstance(metric, Counter | Gauge | Histogram):
        name = f"{metric._name}_total" if isinstance(metric, Counter) else metric._name
        return name, metric._type, set(metric._labelnames)
    return None


DECLARED = {one[0]: one[1:] for metric in vars(metrics).values() if (one := _declared(metric)) is not None}


def test_every_metric_is_in_the_reference_with_its_labels() -> None:
    """No metric without a line, no line without a metric, and each names the labels."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| (.+) \|$", REFERENCE.read_text(), re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}
    assert documented == DECLARED


def test_all_are_rendered() -> None:
    """In the format that Prometheus reads, from a registry that is ours alone."""
    text = metrics.render().decode()
    for name in DECLARED:
        assert f"# TYPE {name} " in text
    assert "python_info" not in text


def test_a_route_counts_and_measures() -> None:
    """One series per class of status, one histogram per route."""
    route = metrics.RouteMetrics("GET /for-this-test")
    for status in (200, 201, 404, 500):
        route.observe(status, 0.003)
    text = metrics.render().decode()
    assert 'parley_http_requests_total{route="GET /for-this-test",status="2xx"} 2.0' in text
    assert 'parley_http_requests_total{route="GET /for-this-test",status="4xx"} 1.0' in text
    assert 'parley_http_request_seconds_bucket{le="0.005",route="GET /for-this-test"} 4.0' in text
