"""Layer 4: why it went as it did.

case        what one execution left behind, kept until somebody asks
symptoms    what makes anybody ask
causes/     one function per mechanism: whom it suspects, and what speaks for and against it
classes     what each cause class is, what it predicts, its rivals and its fix
engine      tries all causes, lets effects step back behind their causes, ranks, rules rivals out
compose     writes the report; report holds its types
history     what earlier runs were like, and which incidents were seen before
"""

from __future__ import annotations

from receiver.investigate.compose import investigate

__all__ = ["investigate"]
