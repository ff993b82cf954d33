"""Secrets in command lines, paths, titles, URLs and other text. Applied as bytes become text, before any queue, log,
recording or report.

    names     which names announce a secret (`DB_PASSWORD`), and which only sound like one (`token_count`)
    values    whether the value behind such a name is one, or stands for one (`$PASSWORD`, a file, `true`)
    tokens    tokens that their form gives away
    scan      pairs, URLs and headers in any text, however they are quoted
    shell     the words of a shell's line, with their places
    programs  what the known programs' own flags and places mean
    commands  argument lists
    redactor  the entry: bytes in, text out, with caches and counts

Rules work on the argument list, never on a joined line, and each pattern is linear. What is replaced reads `[redacted:RULE]`,
so that a reader knows something stood there and which rule took it.
"""

from receiver.text.redact.redactor import CUT, MAX_ARGUMENTS, Mode, Redactor

__all__ = ["CUT", "MAX_ARGUMENTS", "Mode", "Redactor"]
