"""Databases, their loaders, and message brokers."""

from receiver.text.redact.programs.forms import flags, login, place

flags(
    "mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlpump mysqlshow mysqlslap mysqlbinlog"
    " mysqlsh mariadb mariadb-dump mariadb-admin mariadb-check mariadb-import mariabackup"
    " xtrabackup mydumper myloader mysql_upgrade",
    attached="-p",
)
flags("mydumper myloader", value="-p")
flags("mysqlsh", login="--uri --sql --py --js")
flags("etcdctl", login="--user")
flags("influx", value="-t -p -password")
flags(
    "mycli pgcli litecli exaplus cqlsh rdesktop rabbitmqadmin smbmap cqlsh-expansion dsbulk"
    " cypher-shell couchbase-cli cbimport cbexport cbq cbbackupmgr cbstats hdbsql monetdb"
    " schemaspy sqlline dsetool spanner-cli ksql",
    value="-p",
)
flags(
    "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop mongofiles"
    " bsondump",
    value="-p",
)
flags("snowsql snow db2 beeline exasol", value="-p")
flags("elasticsearch-users", value="-p", verbs="useradd passwd")
flags(
    "sqlcmd bcp tsql mssql-cli osql isql isql-fb fisql defncopy freebcp mosquitto_pub mosquitto_sub"
    " sqsh",
    value="-P",
)
flags("sqlcmd osql", value="-Z -z", attached="-Z -z")
flags(
    "vsql vertica-vsql vbr db2look db2move db2advis db2batch ora2pg", value="-w", boolean="xvnZLc"
)
flags("db2move db2batch tdload tpump", value="-p")
flags("nzsql nzload nodetool sstableloader cassandra-stress mqtt", value="-pw")
flags("redis-cli redis-benchmark keydb-cli valkey-cli", value="-a")
flags("clickhouse", value="--password")
flags(
    "pt-table-sync pt-table-checksum pt-online-schema-change pt-query-digest pt-archiver",
    value="-p",
)
flags("nsc nk", value="--seed")
flags("nats natscli", value="--nkey-seed", plain="--creds --nkey")
flags("pulsar-admin pulsar-client pulsarctl", prefixed="--auth-params", value="--token")
flags("solr", value="-credentials", login="-credentials -u")
flags("rpk", literal="-X")
flags("dtexec", slash="de decrypt")
flags("sqlpackage", slash="tp sp")
flags("dtutil", slash="sourcepassword destpassword decrypt en encrypt")
flags("dbca", value="-sysPassword -systemPassword -dbsnmpPassword")
place("mysqladmin", "password")
place("isql iusql", "", skip=2)
place("redis-cli keydb-cli valkey-cli", "auth", take=2)
place("rabbitmqctl", "add_user", skip=1)
place("rabbitmqctl", "change_password", skip=1)
place("rabbitmqctl", "authenticate_user", skip=1)
place("neo4j-admin", "set-initial-password")
place("hdbuserstore", "set", skip=3)
place("cockroach", "login", skip=1)
login(
    "sqlplus sqlldr exp imp expdp impdp rman",
    r"([\\\"']*(?:userid=)?[\\\"']*[\w$#]{1,64}/)([^@/][^@]{0,254}|\"[^\"]*\")(@[^\s]*"
    r"(?:\sas\s\w+)?[\\\"']*)?$",
)
place("redis-server redis-sentinel sentinel redis-cli", "auth-pass", skip=1)
login("tkprof", r"(explain=[\w$#]{1,64}/)([^@]+)(@.*)?$")
login("redis-cli valkey-cli keydb-cli", r"([>#])([^\s|]+)()$")
login("sql sqlcl dgmgrl", r"([\w$#]{1,64}/)([^@/][^@]{0,254}|\"[^\"]*\")(@\S*)$")
login(
    "bteq fastload mload multiload tbuild fexp fastexport",
    r"((?:.*\s|\.logon\s{0,4})?[^/\s]{1,64}/[^,\s/]{1,64},)([^;\s]+)(.*)$",
)
login(
    "pt-table-sync pt-table-checksum pt-online-schema-change pt-archiver pt-query-digest",
    r"((?:.*,)?p=)([^,]+)(.*)$",
)
place("zkcli zookeeper-shell", "addauth", skip=1)
