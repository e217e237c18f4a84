"""Evaluating runs on labelled photos: metrics, a comparison, and an HTML report."""

from chifoumi_jax.reports.evaluated import EvaluatedRun, evaluate_run
from chifoumi_jax.reports.output import PAGE, require_free
from chifoumi_jax.reports.report import Report, evaluate

__all__ = ["PAGE", "EvaluatedRun", "Report", "evaluate", "evaluate_run", "require_free"]
