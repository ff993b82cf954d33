"""Layer 4: this layer explains why an execution ended as it did.

case        keeps the processes and facts of one execution
symptoms    names the visible signs that something is wrong
causes/     has one function per mechanism; each returns candidates with their evidence
classes     describes each cause class: its prediction, its rivals and its fix
engine      runs all causes, discounts effects, ranks the candidates and rules out rivals
compose     writes the report; report holds the types of the report
history     remembers earlier runs and the incidents that were seen before
"""

from __future__ import annotations

from receiver.investigate.compose import investigate

__all__ = ["investigate"]
