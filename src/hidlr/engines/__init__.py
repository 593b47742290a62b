"""From one step's measurements to the rates of the next: the rules, behind one small protocol."""

from hidlr.engines.calibrated import Calibrated
from hidlr.engines.estimators import AxisEstimator, Estimator, FullEstimator, RandomEstimator
from hidlr.engines.fixed import Fixed
from hidlr.engines.line_search import LineMinimum, search_line
from hidlr.engines.paper import Paper
from hidlr.engines.protocol import Decision, Engine, Finding, LookBack, Measure, StepView

__all__ = [
    "AxisEstimator",
    "Calibrated",
    "Decision",
    "Engine",
    "Estimator",
    "Finding",
    "Fixed",
    "FullEstimator",
    "LineMinimum",
    "LookBack",
    "Measure",
    "Paper",
    "RandomEstimator",
    "StepView",
    "search_line",
]
