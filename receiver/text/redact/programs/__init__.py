"""The secret flags and positional arguments of known programs. Source: each program's manual."""

from __future__ import annotations

import re

from receiver.text.printable import words
from receiver.text.redact.programs import clouds, databases, hosts
from receiver.text.redact.programs.forms import FLAGS, LOGINS, PLACES, ArgumentPlace, Flags

# `… set NAME VALUE`: a name that announces a secret, and the next argument
KEYED = words(
    "aws git npm yarn pnpm pip pip3 poetry airflow dvc meltano rclone redis-cli nmcli pulumi"
    " conda heroku composer snow mlflow bundle db2 gcloud flyctl mc vercel mysqladmin restic fly"
    " snowsql drush wp augtool consul etcdctl nats"
)
KEYED_VERBS = words(
    "set put config configure modify create add edit connect update register config:set setex wifi "
    "connection password"
)
# verbs that have this meaning for a program that is not known
SET_VERBS = words(
    "set put write setx setenv set-env define assign store secret:set secrets:set config:set"
    " variables:set --set ed edit update"
)
KEYED_NOT = words("get list show unset rm remove delete describe")
KEYED_WORDS = frozenset(("using", "requirepass", "masterauth"))
# the flag that holds the value of a NAME which an argument before it gave
VALUE_FLAGS = frozenset(("-v", "--value", "-value", "--val", "--secret-value", "--string-value"))


# programs that read a secret from their standard input
READERS = words(
    "chpasswd sudo su passwd kinit cryptsetup smbpasswd vncpasswd htpasswd kubeseal lpass"
    " mkpasswd ansible-vault age-keygen ssh-add pass secret-tool keyring rclone adduser"
)
READER_VERBS = words(
    "secret secrets login unlock unseal luksopen luksformat encrypt_string obscure"
)
READER_FLAGS = re.compile(
    r"--?[\w\-]*stdin$|\w*pass\w*_stdin$|-\w*S$|--with-token$|--passphrase-fd|--password-fd"
    r"|--pinentry-mode|--pass-fd"
)
# their own commands stand in one argument: lftp -c "open -u user,secret …"
INTERPRETERS = frozenset(("lftp", "db2", "bteq", "sqlplus", "zkcli"))
ECHOES = frozenset(("echo", "printf", "yes"))

# -b, alone or among other letters: the last argument is the password
LETTERS = frozenset(("htpasswd", "mosquitto_passwd", "htdigest"))
OWN = (
    "expect",
    "dtexec",
    "read",
    "setx",
    "crudini",
    "printf",
)  # walk, phrases and commands read these
NAMES = frozenset((*FLAGS, *PLACES, *LOGINS, *KEYED, *LETTERS, *READERS, *OWN))

# names that are also words: they count only at the beginning of a command
AMBIGUOUS = words(
    "sql exp imp net fly rar zip http https db2 pass cli rd now tf setup security import security"
    " ab hey oha nk solr mstr cf bx b2 swift modal drone snow read send pan carte oc gs mc wp bw"
    " store notation flux"
)
# programs whose `-u`, `-p`, `-a` or `user:group` has another meaning
OTHER_USES = words(
    "docker podman nerdctl docker-compose kubectl oc helm cp rsync mv git tar mkdir install ps kill"
    " pkill pgrep ssh scp sftp lsof netstat ss sort cut touch uniq xargs psql pg_dump pg_restore"
    " pg_dumpall pg_basebackup pg_isready pgbench createdb createuser dropdb initdb vacuumdb"
    " squeue sinfo srun sbatch sacct scancel salloc top htop diff patch chown gosu su-exec conda"
    " mamba tmux screen grep rg find date uuidgen systemctl systemd-run journalctl crontab docker"
    " buildah singularity apptainer mysql mariadb mysqldump mysqladmin dbt jupyter papermill apt"
    " apt-get yum dnf make nmap iptables perf strace gcc gunicorn uwsgi sudo doas chroot runuser"
    " su setpriv unshare nsenter strace time timeout nice"
)

__all__ = ["FLAGS", "LOGINS", "PLACES", "ArgumentPlace", "Flags", "clouds", "databases", "hosts"]
