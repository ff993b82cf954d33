"""Names that announce a secret: `DB_PASSWORD`, `spark.hadoop.fs.s3a.secret.key`, `apiKey`; not
`token_count`, `primary-key`.

A name is split into words. A secret word counts unless the words around it say that the value is
something else: a file, a number of tokens, the name of a column.
"""

from __future__ import annotations

import re
from functools import lru_cache

from receiver.constants import SECRET_WORDS
from receiver.text.printable import words

WEAK, MEDIUM, STRONG = (
    1,
    2,
    3,
    # WEAK: the value must look random. MEDIUM: it must not look like a path. STRONG: any value is a
    # secret.
)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NAME_LENGTH = 100  # only the end of a longer name is read

_STRONG = words(
    "password passwords passwd passphrase passcode pwd pw pass pword secret secrets token"
    " apikey authtoken accesstoken accesskey"
    " secretkey privatekey accountkey authkey sharedkey signingkey masterkey licensekey"
    " fernetkey storagekey storepass keypass"
    " requirepass masterauth psk sskey bearer passkey pswd psw passwort kennwort mdp motdepasse"
    " senha contrasena"
)
_MEDIUM = words(
    "credential credentials creds cred authorization cookie cookies sas hmac jwt pat auth sig"
    " signature"
)
_WEAK = words("key session code appid appkey")
_ENDS = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "pwd",
    "pw",
)
_PASS = ("pass",)  # as an ending, with these exceptions
_NO_PASS = words(
    "bypass compass encompass surpass trespass overpass underpass multipass bandpass lowpass "
    "highpass allpass askpass"
)
# `key` after one of these is a secret
_KEYS = words(
    "api access account private secret signing encryption shared master storage subscription"
    " function license consumer service"
    " fernet admin app application auth integration host ssh rsa aes hmac jwt webhook deploy"
    " ingest write client cosmos sas"
    " stripe dd instrumentation registration management unseal recovery crypt crypto cipher "
    "decryption"
)
_PATHS = words("private ssh rsa host client")  # the value of such a key is a file in most cases
# after a secret word: the value describes the secret, and is not the secret itself
_NOT_AFTER = words(
    "file files filename path paths name names id ids url uri type types count counts length"
    " len size policy ttl expiry expires"
    " encryption expiration lifetime timeout field fields column columns col cols store provider"
    " manager"
    " class dir directory location arn"
    " ref version rotation env var prompt stdin fd min max required enabled disabled refresh"
    " algorithm alg format method mode"
    " scheme server endpoint table index usage limit budget separator deserializer serializer"
    " suffix regex pattern"
    " condition expression ring rings spec source helper backend user username realm info"
    " status error exclude renewal interval"
    " reset change changed check checking authentication sock socket auth wired wrapper lookup"
    " cache jar issuer audience"
    " template attribute attributes schema strategy binding bindings generator counts type"
    " hint hints age history strength"
    " review rules owner sid domain list lists port secure samesite httponly rotate renew "
    "exchange handler"
    " loader parser pool queue role scope scopes map level kind flow redirect callback header "
    "headers param"
    " parameter label title tag tags date time at since until by per daily hourly weekly monthly "
    "day hour"
    " seconds minutes days hours service"
)
# before a secret word
_NOT_BEFORE = words(
    "ask no prompt use require requires skip allow force with without existing max min num pad"
    " eos bos unk sep mask special next"
    " page starting continuation stop end start per has show hide reset change forgot read"
    " unexpected invalid missing bad"
    " external public foreign by detach idempotency request pagination cursor sync delta sequence"
)
_NOT_BEFORE_KEY = words(
    "partition primary sort foreign public group row join cache surrogate natural business"
    " dedup range shard idempotency"
    " routing message order cluster unique merge composite dist distribution object step map"
    " index hash lookup password"
)
_ONE_TIME = words("pin otp totp mfa hotp 2fa twofactor tan cvv cvc")
_CODES = words("auth verification confirmation security login sms token pass authenticator")
_EXACT = {
    "sonar.login": STRONG,
    "x-honeycomb-team": STRONG,
    "sasl.jaas.config": 0,
    "http.extraheader": 0,
    "user.signingkey": 0,
    "lightstep-access-token": STRONG,
}


# A variable whose name holds one of these words is never exported from the kernel, unless its whole
# name is on the allow list. The kernel half compares with the same words.
VARIABLE_WORDS = SECRET_WORDS


def is_secret_variable(name: str) -> bool:
    """Whether the name of an environment variable resembles a secret's.

    Stricter than `secrecy`: no feature needs such a value.
    """
    upper = name.upper()
    return any(word in upper for word in VARIABLE_WORDS)


@lru_cache(maxsize=4096)
def secrecy(name: str) -> int:
    """0: it announces no secret. Else the certainty: WEAK, MEDIUM, STRONG."""
    lowered = name.lower().strip("-")
    if name.startswith("-D"):
        lowered = lowered[1:]
    if lowered in _EXACT:
        return _EXACT[lowered]
    words = [word.lower() for word in _WORDS.findall(name[-_NAME_LENGTH:])]
    if "ref" in words[1:]:
        return 0  # secretKeyRef, passwordSecretRef: the name of a secret
    level = next(
        (found for at in reversed(range(len(words))) if (found := _level(words, at)) is not None), 0
    )
    if 0 < level < STRONG and any(_of_word(word) == STRONG for word in words):
        level = STRONG  # SECRET_GIT_CREDENTIAL
    if level and lowered.startswith("x-") and ":" not in lowered:
        return max(level, MEDIUM)  # X-Auth: a custom header
    return level


def one_time(name: str) -> bool:
    """Whether it is the name of a PIN or of a one-time code: digits are its secret."""
    words = [word.lower() for word in _WORDS.findall(name[-_NAME_LENGTH:])]
    if words[-1:] == ["code"] and len(words) > 1:
        return words[-2] in _ONE_TIME or words[-2] in _CODES
    return bool(words) and words[-1] in _ONE_TIME


def is_telling_word(name: str) -> bool:
    """Whether the whole name is one word that announces a secret: -password, not -psecret."""
    return name.strip("-").lower() in _STRONG


def is_path_key(name: str) -> bool:
    """Whether such a key is a file name in most cases."""
    words = [word.lower() for word in _WORDS.findall(name[-_NAME_LENGTH:])]
    return words[-1:] == ["key"] and words[-2:-1] != [] and words[-2] in _PATHS


def _level(words: list[str], at: int) -> int | None:
    """The meaning of the word for the name; None: it has none, so the word before it decides."""
    word, before, after = words[at], words[at - 1] if at else "", words[at + 1 :]
    if word in ("key", "keys"):
        if before in _KEYS:
            # private_key_id is a part of a service account's key file
            paired = "id" if before == "private" else ""
            return 0 if any(w in _NOT_AFTER and w != paired for w in after[:2]) else STRONG
        if word == "keys" or before in _NOT_BEFORE_KEY:
            return None
    level = _of_word(word)
    if not level:
        return None
    if (
        before in _NOT_BEFORE
        or words[0] in ("ask", "no", "prompt")
        or any(w in _NOT_AFTER for w in after)
    ):
        return 0
    if after and after[0] == "key":  # userPasswordKey: the key that holds the password
        return level if word == "secret" else 0
    return level


def _of_word(word: str) -> int:
    if word in _STRONG:
        return STRONG
    if word in _MEDIUM:
        return MEDIUM
    if word in _WEAK:
        return WEAK
    if word in _NO_PASS or word in ("oldpwd",):
        return 0
    return STRONG if word.endswith(_ENDS) or word.endswith(_PASS) else 0
