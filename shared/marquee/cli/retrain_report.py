"""Printed result of a retraining."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marquee.training.pipeline.publish_step import RetrainResult


def print_result(result: RetrainResult) -> None:
    """Print metrics, findings, what each step took, and the outcome."""
    if result.evaluation:
        e = result.evaluation
        print(f"{e.split}: {e.ratings} ratings of {e.users} users, {e.known_users} of them in the training data")
        for candidate, metrics in e.metrics.items():
            columns = (f"{name} {m.value:.4f} [{m.low:.4f}, {m.high:.4f}]" for name, m in metrics.items())
            print(f"  {candidate:<11}{'  '.join(columns)}")
    for finding in result.findings:
        print(f"  {finding}")
    for name, usage in result.usage.items():
        print(f"  step {name:<9}{usage}")
    version = f"{result.version}: " if result.version else ""
    print(f"{version}{result.outcome}: {result.reason}")
