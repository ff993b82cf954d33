"""Files, archives, keys, networks, mail and operating systems."""

from receiver.text.redact.programs.forms import flags, place

flags("sshpass", value="-p", boolean="ve")
flags("plink pscp psftp putty", value="-pw")
flags("ssh-keygen", value="-N -P")
flags(
    "curl",
    login="-u --user -U --proxy-user -E --cert",
    value="-b --cookie --oauth2-bearer --pass --proxy-pass --key-passwd",
    boolean="sSfkLvgiIqNnOR046GJjlaZM#",
)
flags("http https xh xhs", login="-a --auth", boolean="vhbfjpdSI")
flags("ab", login="-A -P")
flags("hey vegeta bombardier autocannon wrk oha siege", login="-a --auth --basic")
flags(
    "wget aria2c axel",
    value="--password --http-password --ftp-password --proxy-password --http-passwd --ftp-passwd"
    " --http-proxy-passwd --https-proxy-passwd --all-proxy-passwd --rpc-secret --use-askpass",
)
flags("lftp", login="-u", separator=",")
flags("ncftpput ncftpget ncftpls ncftp", value="-p")
flags(
    "smbclient rpcclient smbget smbcacls smbcquotas net nmblookup wmic winexe",
    login="-U --user",
    separator="%",
    plain="-A --authentication-file -c --command",
    boolean="NkLE",
)
flags(
    "openssl",
    prefixed="-passin -passout -pass -password -passwd",
    plain="-key -keyform -keyout -keysig -signature -in -out -kdf -sigfile -keygen_engine",
    value="-k -K -hmac -psk -srppass -passwd -macopt",
)
flags("gpg gpg2", value="--passphrase")
flags("zip", value="-P", boolean="rqj0123456789umoyXDSl9")
flags("unzip funzip", value="-P", boolean="oqjnCLtlvxfupa")
flags("7z 7za 7zr 7zz rar unrar", attached="-p -hp")
flags("arj", attached="-g")
flags("ccrypt ccencrypt ccdecrypt", value="-K --key")
flags("mcrypt mdecrypt", value="-k --key")
flags("veracrypt steghide aescrypt msoffcrypto-tool mutool", value="-p")
flags("qpdf", both="--encrypt")
flags(
    "pdftotext pdftoppm pdfinfo pdfimages pdftocairo pdftohtml pdfseparate pdfunite pdfcpu",
    value="-upw -opw",
)
flags("gs gsc", attached="-sPDFPassword= -sUserPassword= -sOwnerPassword=")
flags("ffmpeg ffprobe ffplay", value="-decryption_key -encryption_key", plain="-pass")
flags(
    "keytool jarsigner apksigner",
    value="-storepass -keypass -srcstorepass -deststorepass -srckeypass -destkeypass -new",
)
flags("pk12util", value="-W -K -w")
flags("pkcs11-tool softhsm2-util pkcs15-tool ykman", value="--pin --so-pin --new-pin -p")
flags(
    "security",
    value="-w -p -k",
    verbs="add-generic-password add-internet-password unlock-keychain"
    " create-keychain set-keychain-password import",
)
flags("certutil", value="-p", slash="p")
flags("signtool", value="-p", slash="p")
flags("schtasks", slash="rp p")
flags("net wmic cmdkey msiexec winscp xfreerdp wevtutil setup tf", slash="p pass password")
flags("msbuild", slash="")
flags("psexec psexec64 psservice pskill", value="-p", slash="p")
flags("useradd usermod groupadd", value="-p --password")
flags("doveadm", value="-p", verbs="pw")
flags("slappasswd", value="-s")
flags(
    "ldapsearch ldapmodify ldapadd ldapdelete ldappasswd ldapwhoami ldapcompare ldapmodrdn",
    value="-w",
    boolean="xvnZLc",
)
flags("ldappasswd", value="-s -a")
flags("kadmin kadmin.local ktutil kdb5_util", value="-w -P")
flags("kadmin kadmin.local kdb5_util", value="-pw")
flags("ipmitool", value="-P -K")
flags("ipmi-sensors ipmipower ipmi-sel racadm openfortivpn vpnc", value="-p")
flags("p4", value="-P")
flags(
    "snmpwalk snmpget snmpset snmpbulkwalk snmpbulkget snmptrap snmpgetnext snmptable snmpdf",
    value="-c -A -X",
)
flags("snmpget snmpwalk snmpset snmpbulkwalk", value="-x", plain="-a")
flags("vncviewer x11vnc", value="-passwd")
flags("sops", plain="--age --kms --pgp")
place("openssl", "passwd")
place("mkpasswd", "")
place("wpa_passphrase", "", skip=1)
place("radtest", "", skip=1)
place("smbclient", "", skip=1)
place("net", "use", take=4)
place("net", "user", skip=1)
place("bitsadmin", "/setcredentials", skip=4)
place("rclone", "obscure")
place("pdftk", "input_pw")
place("pdftk", "owner_pw")
place("pdftk", "user_pw")
place("wg-quick", "psk")
