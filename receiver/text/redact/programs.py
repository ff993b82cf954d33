"""The secret flags and positional arguments of known programs. Source: each program's manual.

A flag is written as the program takes it: `-p` may precede its value as a word of its own, or have
the value attached; `--long` may have its value after `=`. A `--password` of any program needs no
entry: receiver.text.redact.names knows it.
"""

from __future__ import annotations

import re

import msgspec

from receiver.text.printable import words


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The flags of one program, or of one of its commands (`verbs`: one of these words precedes the
    flag).
    """

    value: tuple[str, ...] = ()  # the value, attached or next
    attached: tuple[str, ...] = ()  # the attached value only: without a value it prompts
    login: tuple[str, ...] = ()  # user SEPARATOR secret
    separator: str = ":"
    literal: tuple[str, ...] = ()  # NAME=secret, whatever the name
    pair: tuple[str, ...] = ()  # the next two arguments: a name and its value
    both: tuple[str, ...] = ()  # the next two arguments are secrets
    prefixed: tuple[str, ...] = ()  # openssl's pass:secret
    switches: tuple[str, ...] = ()  # resembles a secret, and takes no value
    plain: tuple[str, ...] = ()  # resembles a secret, and takes only the name of one
    assigned: bool = False  # NAME=secret, without a flag
    verbs: frozenset[str] = frozenset()
    # short flags without a value, which may precede one of these: -su user:secret
    boolean: str = ""


class ArgumentPlace(msgspec.Struct, frozen=True):
    """Secrets by position: after the words `verbs`, `skip` arguments that are no flags, then `take`
    secrets.
    """

    verbs: tuple[str, ...]
    skip: int = 0
    take: int = 1


FLAGS: dict[str, list[Flags]] = {}
PLACES: dict[str, list[ArgumentPlace]] = {}


def _flags(
    programs: str, verbs: str = "", separator: str = ":", boolean: str = "", **kinds: str
) -> None:
    entry = Flags(
        # all fields in `kinds` are tuples
        **{kind: tuple(flags.split()) for kind, flags in kinds.items()},  # type: ignore[arg-type]
        separator=separator,
        verbs=frozenset(verbs.split()),
        boolean=boolean,
    )
    for program in programs.split():
        FLAGS.setdefault(program, []).append(entry)


def _assigned(programs: str, verbs: str) -> None:
    for program in programs.split():
        FLAGS.setdefault(program, []).append(Flags(assigned=True, verbs=frozenset(verbs.split())))


def _place(programs: str, verbs: str, skip: int = 0, take: int = 1) -> None:
    for program in programs.split():
        PLACES.setdefault(program, []).append(ArgumentPlace(tuple(verbs.split()), skip, take))


# databases
_flags(
    "mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlpump mysqlshow mysqlslap"
    " mysqlbinlog mysqlsh mariadb mariadb-dump"
    " mariadb-admin mariadb-check mariadb-import mariabackup xtrabackup mydumper myloader"
    " mysql_upgrade",
    attached="-p",
)
_flags("mysqlsh", login="--uri --sql --py --js")
_flags("etcdctl", login="--user")
_flags("influx", value="-t")
_flags(
    (
        "mycli pgcli litecli exaplus cqlsh ncftpput ncftpget rdesktop rabbitmqadmin tabcmd smbmap "
        "cqlsh-expansion"
    ),
    value="-p",
)
_flags(
    (
        "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop "
        "mongofiles bsondump"
    ),
    value="-p",
)
_flags("snowsql snow db2 beeline exasol", value="-p")
_flags(
    (
        "sqlcmd bcp tsql mssql-cli osql isql-fb ipmitool fisql defncopy freebcp mosquitto_pub "
        "mosquitto_sub p4 unzip"
    ),
    value="-P",
)
_flags(
    (
        "vsql vbr ldapsearch ldapmodify ldapadd ldapdelete ldappasswd ldapwhoami ldapcompare "
        "ldapmodrdn"
    ),
    value="-w",
    boolean="xvnZLc",
)
_flags("ldappasswd", value="-s -a")
_flags("nzsql nzload nodetool plink pscp psftp putty", value="-pw")
_flags("redis-cli", value="-a")
_flags("clickhouse", value="--password")
_flags(
    "pt-table-sync pt-table-checksum pt-online-schema-change pt-query-digest pt-archiver",
    value="-p",
)
_place("mysqladmin", "password")
_place("isql iusql", "", skip=2)
_place("redis-cli", "auth", take=2)
_place("rabbitmqctl", "add_user", skip=1)
_place("rabbitmqctl", "change_password", skip=1)
_place("rabbitmqctl", "authenticate_user", skip=1)
# an argument in a special form: the text before the secret, the secret, and the text after it
LOGINS: dict[str, re.Pattern[str]] = {}


def _login(programs: str, form: str) -> None:
    LOGINS.update(dict.fromkeys(programs.split(), re.compile(form, re.IGNORECASE | re.DOTALL)))


_login(
    "sqlplus sqlldr exp imp expdp impdp rman",
    r"((?:userid=)?[\w$#]{1,64}/)([^@/][^@]{0,254}|\"[^\"]*\")(@\S*)?$",
)
_login("sql sqlcl", r"([\w$#]{1,64}/)([^@/][^@]{0,254}|\"[^\"]*\")(@\S*)$")
_login("bteq fastload mload tbuild fexp", r"([^/\s]{1,64}/[^,\s]{1,64},)(.+)()$")
_login(
    "pt-table-sync pt-table-checksum pt-online-schema-change pt-archiver pt-query-digest",
    r"((?:.*,)?p=)([^,]+)(.*)$",
)

# containers and clouds
_flags(
    "docker podman nerdctl buildah skopeo crane oc helm regctl oras singularity apptainer",
    verbs="login",
    value="-p",
)
_flags("docker podman nerdctl buildah", plain="--secret --secret-add")
_flags("podman buildah skopeo", login="--creds --src-creds --dest-creds")
_flags("kubectl oc", literal="--from-literal", plain="--from-file")
_flags("az", verbs="login create update set-password reset", value="-p")
_flags("az", literal="--secure-environment-variables", verbs="container")
_flags("az", value="--value", verbs="secret")
_flags("gcloud", plain="--secret --set-secrets --update-secrets --remove-secrets --secret-file")
_flags(
    "aws",
    value="--secret-string --secret-binary --token-code",
    plain="--secret-id --token --starting-token --next-token",
)
_flags("aws", verbs="put-parameter", value="--value")
_assigned("vault", "put patch")
_assigned("flyctl fly doppler", "secrets")
_flags("databricks", value="--string-value --bytes-value")
_flags("doctl", verbs="auth", value="-t")
_flags("cf tabcmd ibmcloud", verbs="login", value="-p")
_flags("airflow superset", verbs="users create-admin", value="-p")
_flags("gh", verbs="secret", value="-b --body")
_flags("pulumi", switches="--secret", plain="--secrets-provider")
_flags("flyctl fly", verbs="secrets", plain="--secret")
_flags("prefect", verbs="login", value="--key -k")
_flags("netlify", value="--auth")
_flags("argocd", value="--password --current-password --new-password")
_flags("twine", value="-p")
_flags("poetry", verbs="publish", value="-p")
_flags("jq yq gojq", pair="--arg --argjson")
_flags("papermill", pair="-p -r")
_place("mc mcli", "alias set", skip=2, take=2)
_place("mc mcli", "config host add", skip=2, take=2)
_place("wandb", "login")
_place("vault", "login")
_place("vault", "unseal")
_place("bw", "unlock")
_place("bw", "login", skip=1)
_place("confluent", "api-key store", take=2)
_place("grafana-cli", "reset-admin-password")
_place("grafana", "reset-admin-password")
_place("ansible-vault", "encrypt_string")
_place("heroku", "authorizations:update")
_place("poetry", "http-basic", skip=1)

# files and hosts
_flags("sshpass", value="-p", boolean="ve")
_flags(
    "curl",
    login="-u --user -U --proxy-user",
    value="-b --cookie --oauth2-bearer --pass --proxy-pass --key-passwd",
    boolean="sSfkLvgiIqNnOR046GJjlaZM#",
)
_flags("http https xh xhs", login="-a --auth", boolean="vhbfjpdSI")
_flags("wget", value="--password --http-password --ftp-password --proxy-password --http-passwd")
_flags("lftp", login="-u", separator=",")
_flags(
    "smbclient rpcclient smbget smbcacls smbcquotas net nmblookup wmic winexe",
    login="-U --user",
    separator="%",
    boolean="NkLE",
)
_flags(
    "openssl",
    prefixed="-passin -passout -pass -password",
    value="-k -K -hmac -psk -srppass -passwd -macopt",
    plain="-key -keyform",
)
_flags("gpg gpg2", value="--passphrase")
_flags("zip", value="-P", boolean="rqj0123456789umoyXDSl9")
_flags("7z 7za 7zr 7zz rar unrar", attached="-p -hp")
_flags("qpdf", both="--encrypt")
_flags("pdftotext pdftoppm pdfinfo pdfimages pdftocairo pdftohtml", value="-upw -opw")
_flags(
    "keytool jarsigner apksigner",
    value="-storepass -keypass -srcstorepass -deststorepass -srckeypass -destkeypass -new",
)
_flags("useradd usermod", value="-p --password")
_flags("kadmin kadmin.local ktutil kdb5_util", value="-w -P")
_flags("kadmin kadmin.local kdb5_util", value="-pw")
_flags("snmpwalk snmpget snmpset snmpbulkwalk snmptrap snmpgetnext snmptable", value="-c -A -X")
_flags("vncviewer", value="-passwd")
_flags("pmcmd pmrep infacmd", value="-p", attached="-p")
_flags("sops", plain="--age --kms --pgp")
_place("openssl", "passwd")
_place("wpa_passphrase", "", skip=1)
_place("radtest", "", skip=1)
_place("smbclient", "", skip=1)
_place("net", "use", skip=2)

# `… set NAME VALUE`: a name that announces a secret, and the next argument
KEYED = words(
    "aws git npm yarn pnpm pip pip3 poetry airflow dvc meltano rclone redis-cli nmcli pulumi"
    " conda heroku composer snow mlflow"
    " bundle db2 gcloud flyctl mc vercel mysqladmin rclone restic fly snowsql drush wp"
)
KEYED_VERBS = words(
    "set config configure modify create add edit connect update register config:set setex wifi "
    "connection password"
)
KEYED_NOT = words("get list show unset rm remove delete describe")
KEYED_WORDS = frozenset(("using", "requirepass", "masterauth"))

SHELLS = words("sh bash dash zsh ksh ash fish busybox su runuser sg")
PYTHON = re.compile(r"(?:python|pypy)[\d.]*$")

# in `echo SECRET | program`, and in `program <<< SECRET`
READS_SECRET = re.compile(
    r"--password-stdin|--passphrase-fd\b|--with-token|--token-stdin|--pinentry-mode"
    r"|(?<!\S)chpasswd(?!\S)|(?<!\S)(?:sudo|su)\s.*-\w*S\b"
    r"|(?<!\S)passwd\s.*--stdin|(?<!\S)(?:kinit|cryptsetup|smbpasswd|vncpasswd|htpasswd"
    r"|ecryptfs-\S+)(?!\S)|-pass(?:in)?\s+stdin"
    r"|vault\s+login\s+-(?:\s|$)|(?<!\S)base64\s.*kubectl"
)
READERS = words("chpasswd sudo passwd kinit cryptsetup smbpasswd")
# their own commands stand in one argument: lftp -c "open -u user,secret …"
INTERPRETERS = frozenset(("lftp", "db2", "bteq"))
ECHOES = frozenset(("echo", "printf"))

# -b, alone or among other letters: the last argument is the password
LETTERS = frozenset(("htpasswd",))
NAMES = frozenset((*FLAGS, *PLACES, *LOGINS, *KEYED, *LETTERS, *READERS))
