"""Layer 4: this layer explains why an execution ended as it did.

case        keeps the processes and facts of one execution
symptoms    names the visible signs that something is wrong
causes/     has one card for each cause class, and the functions that yield its candidates
cards       what a card holds: prediction, rivals, relations, fix; classes has them all by name
weights     the weights of the clues, counted from runs whose cause is known
relations   checks on facts whether one candidate brought about another one
graph       which candidate brought about which, and which failures each of them explains
engine      finds the smallest set of roots that explains all failures, with one distribution
compose     writes the report; report holds the types of the report
history     remembers earlier runs and the incidents that were seen before
"""

from __future__ import annotations

from receiver.investigate.compose import investigate

__all__ = ["investigate"]
