"""A cheap test before the expensive one: whether a text holds a word that can announce a secret, a
token's prefix, or a program.

Pipelines use the same words again and again, so words that announce nothing are remembered: a text
of known words costs one set operation.
"""

from __future__ import annotations

import re

from receiver.text.redact.programs import NAMES

REMEMBERED = 16384  # words; a full set is cleared
_RUN = re.compile(rb"[a-z]+")
_TELLING = (
    rb"pass|pwd|secret|token|key|cred|auth|sas|cookie|sig|pw|jwt|hmac|psk|identified|bearer"
    rb"|honeycomb|session"
    rb"|^code$|^pat$|^basic$|^p$|^xp$|^pd$|^login$|assword|assphrase|appid|appkey|^pin$|otp$"
    rb"|^mfa$|^tan$"
    rb"|kennwort|motdepasse|senha|contrase|^mdp$|^psw$|pswd|^remote$|convertto|crypt|requirepass"
    rb"|masterauth"
    rb"|connect|mysqli|^pdo$|newinstance|^ftp$|^using$"
)
_TOKENS = (
    rb"akia|asia|abia|acca|aiza|^eyj|dapi|dkea|dose|gocspx|glpat|gldt|glrt|glsoat|glptt|glcbt"
    rb"|glimt|glagent|fwogz|iqojb|nrak|nrjs"
    rb"|sntry|atct|atat|^gh[pousr]$|^(?:npm|pypi|xox.?|xapp|hf|sk|rk|pk|whsec|ya|sg|hv[sbr]"
    rb"|do[opr]|shp..|lin|gl(?:sa|c)|pn[ub]"
    rb"|pmak|ntn|nvapi|r|tskey|sbp|sq[a-z]?|dckr|dp|age|private|github)$|slack|discord|telegram"
    rb"|webhook"
    rb"|bearer"
)


def _runs_of(names: frozenset[str]) -> bytes:
    """Each program by the first run of letters in its name."""
    found = {m[0] for name in names if (m := _RUN.search(name.encode()))}
    return b"|".join(rb"^%s$" % run for run in sorted(found))


class Vocabulary:
    """Remembers the words in which its pattern found nothing. Bounded."""

    def __init__(self, pattern: bytes) -> None:
        self._pattern = re.compile(pattern)
        self._uninteresting: set[bytes] = set()

    def has_sign(self, lowered: bytes) -> bool:
        """Whether any word of the text, which is in lower case, can be a sign of a secret."""
        runs = _RUN.findall(lowered)
        return not self._uninteresting.issuperset(runs) and self._learn(runs)

    def _learn(self, runs: list[bytes]) -> bool:
        if len(self._uninteresting) > REMEMBERED:
            self._uninteresting.clear()
        for run in runs:
            if run not in self._uninteresting:
                if self._pattern.search(run):
                    return True
                self._uninteresting.add(run)
        return False


def of_lines() -> Vocabulary:
    """Command lines, titles, errors."""
    return Vocabulary(_TELLING + b"|" + _TOKENS + b"|" + _runs_of(NAMES))


def of_pairs() -> Vocabulary:
    """Paths with `=` or `:` in them, environments, arguments."""
    return Vocabulary(_TELLING + b"|" + _TOKENS)


def of_tokens() -> Vocabulary:
    """Other paths, and short names."""
    return Vocabulary(_TOKENS + rb"|^(?:secret|password|passwd|token|key|apikey)$")
