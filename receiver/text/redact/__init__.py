"""Removes secrets from command lines, paths, titles, URLs and other text.

It is applied when bytes become text, before any queue, log, recording or report.

    names     names that announce a secret (`DB_PASSWORD`), or only resemble one (`token_count`)
    values    whether the value of such a name is a secret, or refers to one (`$PASSWORD`, a file)
    tokens    tokens that are recognised by their form
    scan      pairs, URLs and headers in any text, in all forms of quoting
    phrases   calls, SQL, lines of password files and other text without `=` and `:`
    shell     the words of a shell's line, with their places
    programs  the meaning of known programs' flags and positional arguments
    taken     what is done to one argument with a meaning
    state     what is known of a command
    placed    its arguments that are no flags
    flagged   its flags
    walk      argument lists
    commands  command lines inside of arguments and lines
    redactor  the entry: bytes in, text out, with caches and counts

Rules work on the argument list, never on a joined line, and each pattern is linear. A removed
secret reads `[redacted:RULE]`, so that a reader sees that something was removed, and by which rule.
"""

from receiver.text.redact.redactor import CUT, MAX_ARGUMENTS, Mode, Redactor

__all__ = ["CUT", "MAX_ARGUMENTS", "Mode", "Redactor"]
