"""Whether the value of a name that announces a secret is the secret itself, or a reference: a
variable, a file, a boolean, a mark.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from receiver.text.printable import words
from receiver.text.redact.names import MEDIUM, STRONG, WEAK

MARK = "[redacted:"
_WORDS = words(
    "true false yes no on off null none nil undefined required optional redacted hidden masked"
    " prompt ask default unset empty"
    " masking stdin file env is was are must and or"
)
_REFERENCE = re.compile(
    r"\$\{.*|\$\(.*|\$[A-Z_][A-Z0-9_]{2,}$|`.*|\{\{.*|<[\w \-.]+>$|%[A-Za-z_]\w*%$|%\(\w+\).*"
    r"|%[sdr]$|[*xX.…#]{3,}$"
    r"|@(?:-|[\w~.\-]*/[\w./~\-]*)$|(?:file|fileb|env|vault|ssm|secretsmanager|arn|keyring"
    r"|keychain|op|secretref|projects)[:/].*"
    r"|!\w+ .*|\.\*.*|\[\^.*|\\[SswW].*|\(\?.*|None$|process\.env.*|\[redacted.*"
    r"|(?:scram-sha-\d+|md5|trust|peer|cert|kerberos|gssapi|ldap|oauth2?|oidc|iam|jwt|plain|login)$"
    r"|\.[a-z_]+(?:\.[a-z_]+)*(?:\[\d*\])?$|(?:Get|New|Read|Import|ConvertTo|ConvertFrom"
    r"|Connect)-[A-Z]\w+.*"
    r"|(?:os|sys|self|args|opts?|options|config|conf|cfg|settings|request|params)\.[a-z_]\w*.*"
)
_EXPRESSION = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*[(\[].*")  # in code: a call, or an indexed element
_SHELL_VARIABLE = re.compile(r"\$\{?[A-Za-z_][\w:?\-]*\}?$")
_PATH = re.compile(
    r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\][\w.\-@+]+(?:[/\\][\w.\-@+]+)*[/\\]?$|[\w.\-]+\.(?:pem|key|p8"
    r"|p12|json|ya?ml|ini|cnf|conf|txt|jks|crt|toml|env|gpg|sig|asc|cer|der|csr|pub|keytab|creds"
    r"|token|properties|cfg|xml|csv|tsv|log|sql|db|enc|parquet|gz|tgz|zip|bz2|xz|tar|bin|dat|md"
    r"|html|js|py|sh)$"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$")
_RUN = re.compile(r"[A-Za-z0-9]+")
_HEX = re.compile(r"[0-9a-fA-F]+$")
# the value of `KEY=` in an environment or a URL, though other digests are none
DIGEST = re.compile(r"[0-9a-f]{32,128}$")


def is_reference(value: str, *, script: bool = False) -> bool:
    """Whether the value only refers to a secret, or to none.

    `script`: variables of a script are not expanded yet.
    """
    return (
        not any(c.isalnum() for c in value)
        or value.lower().rstrip("/.,;:") in _WORDS
        or _REFERENCE.match(value) is not None
        or (script and (_SHELL_VARIABLE.match(value) or _EXPRESSION.match(value)) is not None)
    )


def is_secret(value: str, level: int, *, path_key: bool = False, script: bool = False) -> bool:
    """Whether the value of a name of that level must be removed."""
    if is_reference(value, script=script):
        return False
    if level >= STRONG:
        if value.isdigit() and len(value) < 3:
            return False  # the second pass
        return not (is_path(value) if path_key else _is_file(value))
    if is_path(value) or value.isdigit():
        return False
    if level >= MEDIUM:
        return (
            len(value) >= 4
            and not _UUID.match(value)
            and (":" in value or not value.isalpha() or len(value) >= 20)
        )
    return looks_random(value)


def is_code(value: str) -> bool:
    """A PIN or a one-time code."""
    return value.isdigit() and 4 <= len(value) <= 10


def _is_file(value: str) -> bool:
    """An absolute path of several plain components: a text that only begins like a path may be
    base64.
    """
    return (
        value[:1] == "/"
        and value.count("/") > 1
        and is_path(value)
        and not any(looks_random(c, 12) for c in value.split("/"))
    )


def is_path(value: str) -> bool:
    """A file, by its form: an absolute or relative path of plain components, or a name with the
    extension of a key file.
    """
    return _PATH.match(value) is not None and not (value.count("/") == 1 and len(value) > 24)


def looks_random(value: str, shortest: int = 8) -> bool:
    """A run of mixed letters and digits that is no identifier, date, digest or path."""
    if len(value) < shortest or _UUID.match(value):
        return False
    if value.endswith("=") and len(value) >= 16:
        return True  # base64
    run = max(_RUN.findall(value), key=len, default="")
    if (
        len(run) < 6
        or run.isalpha()
        or run.isdigit()
        or (_HEX.match(run) and len(run) in (8, 12, 16, 32, 40, 64))
    ):
        return False
    return entropy(run) >= min(2.5, math.log2(len(run)) - 0.6)


def entropy(value: str) -> float:
    """Shannon's entropy, in bits per character."""
    total = len(value)
    return -sum(n / total * math.log2(n / total) for n in Counter(value).values()) if total else 0.0


__all__ = [
    "MARK",
    "WEAK",
    "entropy",
    "is_code",
    "is_path",
    "is_reference",
    "is_secret",
    "looks_random",
]
