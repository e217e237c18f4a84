"""What runs make of labelled photos: numbers, a comparison, and a page for people."""

from chifoumi_jax.reports.evaluated import Judged, judge
from chifoumi_jax.reports.output import PAGE, require_free
from chifoumi_jax.reports.report import Report, evaluate

__all__ = ["PAGE", "Judged", "Report", "evaluate", "judge", "require_free"]
