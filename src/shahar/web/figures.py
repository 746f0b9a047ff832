"""What /metrics tells of store, devices and journal, read from their own counters at each scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shahar.services.contexts import Contexts
from shahar.services.devices import Devices
from shahar.services.runner import Runner
from shahar.services.subscriptions import Subscriptions


class Store(Protocol):
    """What is read of the store."""

    @property
    def counters(self) -> Any:
        """Commits, works, rollbacks and the seconds spent in the writer, since the start."""

    def wal_pages(self) -> int:
        """Pages in the write-ahead log."""


class _Figures(Collector):
    """Reads the parts' counters when it is asked."""

    def __init__(
        self,
        db: Store,
        devices: Devices,
        runner: Runner,
        subscriptions: Subscriptions,
        mqtt: Mapping[str, Counter[str]],
        contexts: Contexts,
    ) -> None:
        self.db, self.devices, self.runner, self.subscriptions, self.mqtt = db, devices, runner, subscriptions, mqtt
        self.contexts = contexts

    def collect(self) -> Iterator[Metric]:
        """Every figure as it stands now."""
        counters = self.db.counters
        yield CounterMetricFamily("shahar_store_commits", "Transactions made durable", counters.commits)
        yield CounterMetricFamily("shahar_store_works", "Changes handed to the writer", counters.works)
        yield CounterMetricFamily(
            "shahar_store_rollbacks", "Groups undone and done again one by one", counters.rollbacks
        )
        yield CounterMetricFamily("shahar_store_commit_seconds", "Time in the writer", counters.commit_s)
        yield GaugeMetricFamily("shahar_store_wal_pages", "Pages in the write-ahead log", self.db.wal_pages())
        messages = CounterMetricFamily("shahar_device_messages", "What came of devices' messages", labels=["outcome"])
        for outcome, count in sorted(self.devices.counts.items()):
            messages.add_metric([outcome], count)
        yield messages
        lag = GaugeMetricFamily("shahar_journal_lag", "Rows that a consumer has not passed", labels=["consumer"])
        for consumer, rows in sorted(self.runner.lag().items()):
            lag.add_metric([consumer], rows)
        yield lag
        waiting = self.subscriptions.waiting()
        yield GaugeMetricFamily("shahar_notifications_waiting", "Changes that wait for a subscriber", waiting)
        forwarded = GaugeMetricFamily("shahar_forwarded", "Subscriptions of ours at sources", labels=["state"])
        for state, count in sorted(self.subscriptions.forwarded().items()):
            forwarded.add_metric([state], count)
        yield forwarded
        failing = len(self.contexts.failing)
        yield GaugeMetricFamily("shahar_contexts_failing", "@contexts that last could not be fetched", failing)
        for name, counts in self.mqtt.items():
            told = CounterMetricFamily(f"shahar_mqtt_{name}", f"MQTT: {name} by kind", labels=["kind"])
            for kind, count in sorted(counts.items()):
                told.add_metric([kind], count)
            yield told


def register(
    registry: CollectorRegistry,
    db: Store,
    devices: Devices,
    runner: Runner,
    subscriptions: Subscriptions,
    mqtt: Mapping[str, Counter[str]],
    contexts: Contexts,
) -> None:
    """Put the parts' figures on a registry. `mqtt`: name -> counts by kind of what the MQTT rooms count."""
    registry.register(_Figures(db, devices, runner, subscriptions, mqtt, contexts))
