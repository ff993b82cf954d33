"""Layer 1, extraction: what happened? Everything that touches the kernel lives here, and only here."""
