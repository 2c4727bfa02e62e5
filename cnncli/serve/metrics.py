"""Counts of requests, in the text format of Prometheus (exposition format 0.0.4)."""

import threading
from collections import Counter

OK, FAILED, REFUSED, BROKEN = "ok", "failed", "refused", "broken"  # 200, 422, other 4xx, 5xx


class Metrics:
    """May be counted in several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._seconds: Counter[str] = Counter()

    def count(self, task: str, outcome: str, seconds: float) -> None:
        with self._lock:
            self._outcomes[task, outcome] += 1
            self._seconds[task] += seconds  # type: ignore[assignment]

    def text(self) -> str:
        with self._lock:
            outcomes, seconds = dict(self._outcomes), dict(self._seconds)
        lines = ["# HELP cnncli_requests_total Requests answered.", "# TYPE cnncli_requests_total counter"]
        for (task, outcome), count in sorted(outcomes.items()):
            lines.append(f'cnncli_requests_total{{task="{task}",outcome="{outcome}"}} {count}')
        lines += ["# HELP cnncli_request_seconds From the body's arrival to the answer, waiting included."]
        lines += ["# TYPE cnncli_request_seconds summary"]
        for task, total in sorted(seconds.items()):
            number = sum(count for (counted, _), count in outcomes.items() if counted == task)
            lines.append(f'cnncli_request_seconds_sum{{task="{task}"}} {total:.6f}')
            lines.append(f'cnncli_request_seconds_count{{task="{task}"}} {number}')
        return "\n".join(lines) + "\n"
