"""Fine-tuning a text classifier with no rate to set: what `hidlr finetune` runs."""

from hidlr.finetuning.config import METHODS, FinetuneConfig
from hidlr.finetuning.outcome import Outcome
from hidlr.finetuning.run import finetune
from hidlr.finetuning.table import Table, read_table

__all__ = ["METHODS", "FinetuneConfig", "Outcome", "Table", "finetune", "read_table"]
