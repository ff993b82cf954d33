# A step in bash: does what the lines of its job file say, one after the other.
set -euo pipefail

seconds() { printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); }

block() { printf '17,4,abc\n%.0s' {1..114}; }

mapfile -t lines < "$1"
for line in "${lines[@]}"; do
  read -r op a b c d <<< "$line"
  case $op in
    note) read -r own _ < /proc/self/stat; echo "$own" > "$a" ;;
    work) for ((i = 0; i < a * 250; i++)); do :; done ;;
    burn)
      # user and system time in ticks of 10 ms, proc_pid_stat(5)
      while read -r -a s < /proc/self/stat && [ $(((s[13] + s[14]) * 10)) -lt "$a" ]; do
        for ((i = 0; i < 5000; i++)); do :; done
      done ;;
    idle) sleep "$(seconds "$a")" ;;
    read)
      cat "$a" > /dev/null
      if [ "$(stat -c %s "$a")" -lt $((${b:-0} * 1024)) ]; then echo "$a: too short" >&2; exit 1; fi ;;
    write)
      exec 9> "$a"
      data=$(block)
      for i in {1..16}; do
        for ((k = 0; k <= b / 16; k++)); do printf '%s\n' "$data" >&9; done
        sleep "$(seconds $((c / 16)))"
      done
      exec 9>&- ;;
    ask)
      exec 8<> "/dev/tcp/127.0.0.1/$a"
      echo get >&8
      read -r -t "$(seconds "$b")" answer <&8
      exec 8>&-
      if [ "$answer" != ok ]; then echo "answer: $answer" >&2; exit 1; fi ;;
    run) $a $b ${c:-} ${d:-} ;;
    mkdir) mkdir "$a" ;;
    create) (set -C; : > "$a") ;;
    lock) exec 7>> "$a"; flock -n 7 ;;
    procs)
      kids=()
      for ((i = 0; i < a; i++)); do sleep "$(seconds "$b")" & kids+=($!); done
      for kid in "${kids[@]}"; do wait "$kid"; done ;;
    exit) echo stop >&2; exit "$a" ;;
    fifo) cat "$a" > /dev/null ;;
    sprinkle) for ((i = 0; i < b; i++)); do : > "$a/part-$i"; done ;;
    kill) kill "-$b" "$(cat "$a")" ;;
    polite) trap 'exit 0' TERM ;;
    deaf) trap '' TERM ;;
    once) if [ ! -e "$a" ]; then : > "$a"; echo 'not yet' >&2; exit 1; fi ;;
    check) if grep -q "$b" "$a"; then echo "$a: $b" >&2; exit 1; fi ;;
    remove) rm "$a" ;;
    say) for ((i = 0; i < a; i++)); do block; done ;;
    *) echo "no $op" >&2; exit 97 ;;
  esac
done
