"""Tokens that are recognised by their form, in any text.

Sources: the issuers' documentation and GitHub's list of patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# a token whose end a limit has cut off, at the end of a text
CUT_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_|github_pat_|gl(?:pat|dt|rt)-|npm_|pypi-|xox[abeoprs]-|[srp]k_"
    r"(?:live"
    r"|test)_|whsec_|hf_|sk-|dapi|AIza|ya29\.|hv[sbr]\.|(?:AKIA|ASIA)(?=[0-9A-Z]*$)"
    r"|eyJ[\w\-]{8,4096}\.)"
    r"[\w\-./+=]{4,}$"
)
_B = r"(?<![A-Za-z0-9])"  # no \b: in file names, `_` and `-` precede tokens
TOKENS = re.compile(
    _B + r"(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])"  # AWS access key ids
    r"|LTAI[A-Za-z0-9]{12,24}(?![0-9A-Za-z])|AKID[A-Za-z0-9]{32}(?![0-9A-Za-z])"
    r"|AKCp[A-Za-z0-9]{40,80}|cmVmd[A-Za-z0-9]{59}"  # Artifactory
    r"|gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}"
    r"|gl(?:pat|dt|rt|soat|ptt|cbt|imt|agent)-[\w\-]{16,255}"
    r"|npm_[A-Za-z0-9]{30,255}|pypi-[\w\-]{40,1024}"
    r"|xox[abeoprs]-[A-Za-z0-9\-]{8,255}|xapp-\d-[A-Za-z0-9\-]{16,255}"
    r"|[srp]k_(?:live|test)_[A-Za-z0-9]{16,255}|whsec_[A-Za-z0-9+/=]{16,255}"
    r"|hf_[A-Za-z0-9]{30,255}|sk-[A-Za-z0-9_\-]{20,255}"
    r"|eyJ[\w\-]{8,4096}\.[\w\-]{4,4096}\.[\w\-]{0,4096}"  # JWT
    r"|dapi[0-9a-f]{32}(?:-\d)?(?![0-9A-Za-z])|dkea[0-9a-f]{32}|dose[0-9a-f]{32}"  # Databricks
    r"|AIza[\w\-]{35}|ya29\.[\w\-.]{20,2048}|GOCSPX-[\w\-]{20,64}|1//0[\w\-]{30,255}"  # Google
    r"|SG\.[\w\-]{16,64}\.[\w\-]{16,64}"
    r"|hv[sbr]\.[\w\-]{16,255}|AGE-SECRET-KEY-1[0-9A-Z]{40,80}"
    r"|do[opr]_v1_[0-9a-f]{40,80}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|lin_api_[A-Za-z0-9]{32,64}"
    r"|gl(?:sa|c)_[\w+/=]{20,255}"
    r"|NRAK-[A-Z0-9]{20,40}|NRJS-[a-f0-9]{19}|pnu_[A-Za-z0-9]{20,64}|pnb_[A-Za-z0-9]{20,64}"
    r"|sntry[su]_[\w+/=\-]{20,512}|ATCTT3xFfGN0[\w\-=.]{4,512}|ATATT3[\w\-=.]{16,512}"
    r"|dckr_pat_[\w\-]{20,64}"
    r"|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|secret_[A-Za-z0-9]{40,64}|ntn_[A-Za-z0-9]{40,64}"
    r"|nvapi-[\w\-]{40,128}|r8_[A-Za-z0-9]{30,64}"
    r"|SK[0-9a-f]{32}(?![0-9A-Za-z])|sha256~[\w\-]{20,64}|tskey-[\w\-]{16,128}|dp\.(?:pt|st"
    r"|ct)\.[\w.\-]{20,128}|sbp_[0-9a-f]{40}"
    r"|sq[upa]_[0-9a-f]{40}|(?:glpat|glptt)-[\w\-.]{16,255}|fo1_[\w\-]{40,64}"
    r"|fm[12][ar]?_[A-Za-z0-9+/=]{80,2048}"
    r"|dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}|A3-[A-Z0-9]{6}-[A-Z0-9\-]{20,40}"
    r"|ops_eyJ[\w+/=]{40,2048}"
    r"|S[UAONC][A-Z2-7]{56}(?![A-Z2-7])|p8e-[a-z0-9]{32}|local-[0-9a-f]{40}|sl\.[\w\-]{40,255}"
    r"|[\w~.]{3}\dQ~[\w~.\-]{31,34}"  # Azure AD's client secrets
    r"|EAA[A-Za-z0-9]{40,300}|sq0[a-z]{3}-[\w\-]{22,64}"
    r"|FwoGZXIvYXdz[\w+/=%\-]{8,2048}|IQoJb3JpZ2lu[\w+/=%\-]{8,2048}"  # AWS session tokens
    r")"
    r"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}-----"
    r"|\Z)",
    re.DOTALL,
)
# the path of a webhook is its secret
WEBHOOKS = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]+/[A-Z0-9]+/)[\w/\-]{8,255}"
    r"|(discord(?:app)?\.com/api/webhooks/\d+/)[\w\-]{20,255}"
    r"|(api\.telegram\.org/bot)\d+:[\w\-]{20,64}"
    r"|((?:\.webhook\.office|outlook\.office(?:365)?)\.com/webhook(?:b2)?/)[\w@\-/]{20,512}"
    r"|(hooks\.zapier\.com/hooks/catch/\d+/)\w{4,64}|(maker\.ifttt\.com/\S{1,128}/key/)[\w\-]{8,64}"
    r"|(hc-ping\.com/|healthchecks\.io/ping/)[0-9a-f\-]{36}"
    r"|(events\.pagerduty\.com/integration/)[0-9a-f]{32}"
    r"|(chat\.googleapis\.com/v1/spaces/[^?\s]{1,64}\?)\S+"
)
BEARER = re.compile(
    r"(?i)(?<![\w\-])(bearer|basic)(\s+|%20|\+)(?=[\w+/=.\-~%]*[0-9A-Z=])([\w+/=.\-~%]{6,4096})"
)

# tokens of issuers that are not listed: PREFIX_RANDOM, and runs in which letters of both cases and
# digits alternate, as no identifier's do
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9])((?:[A-Za-z][A-Za-z0-9]{1,11}[_\-]){1,3})([A-Za-z0-9]{28,255})(?![A-Za-z0-9])"
)
_RUN = re.compile(
    r"(?<![A-Za-z0-9/])(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])(?=[A-Za-z]*\d+[A-Za-z]+\d)"
    r"[A-Za-z0-9]{20,512}(?![A-Za-z0-9/])"
)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+.\-])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=.\-])")
# the cheap test for all three, on bytes
RANDOM = re.compile(
    rb"(?<![A-Za-z0-9])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*\d+[A-Za-z+/]+\d)"
    rb"[A-Za-z0-9+/]{20}|[A-Za-z0-9][_\-](?=[A-Z]*[a-z0-9])(?=[0-9a-f]*[g-zA-Z])"
    rb"(?=[A-Za-z]*\d)[A-Za-z0-9]{28}|1//0[\w\-]{30}"
)
_SHIFTS = re.compile(r"(?<=\d)[A-Za-z]|(?<=[A-Za-z])\d")


def without_random(text: str, mark: Callable[[str], str], *, path: bool) -> str:
    """The text without tokens of no known form. In a path, only those with a prefix: encoded names
    of files look the same.
    """
    text = _PREFIXED.sub(lambda m: mark("shape") if _is_issued(m[2]) else m[0], text)
    if path:
        return text
    text = _AWS_SECRET.sub(lambda m: mark("shape") if _is_mixed(m[0], 4) else m[0], text)
    return _RUN.sub(lambda m: mark("shape") if _is_mixed(m[0], 4) else m[0], text)


def _is_issued(run: str) -> bool:
    return (
        not run.isalpha()
        and not run.isdigit()
        and re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", run) is None
        and len(set(run)) >= 10
        and (len(_SHIFTS.findall(run)) > 1 or not (run.islower() or run.isupper()))
    )


def _is_mixed(run: str, shifts: int) -> bool:
    return (
        sum(c.islower() for c in run) >= 3
        and sum(c.isupper() for c in run) >= 3
        and len(_SHIFTS.findall(run)) >= shifts
    )
