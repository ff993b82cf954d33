#!/usr/bin/env bash
# Usage: libbpf.sh FOLDER SOURCES. Builds libbpf, and the libelf that it needs, from Debian's source packages into FOLDER.
# SOURCES gets the archives: libelf's licence wants them to be published with it.
#
# zig's C compiler links against the symbols of glibc 2.17, so the libraries run on every later one (the wheel's tag is taken
# from what they need). zlib is linked into both. The libraries have names of their own: a process may load the system's
# libbpf and libelf as well, as bcc does.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$1 sources=$2 python=${PYTHON:-$here/../.venv/bin/python}
stop() { echo "libbpf: $*" >&2; exit 1; }
packages=(libbpf elfutils zlib)

stamp=$(cat "$0" "$here/libbpf.config.h" | sha256sum | cut -c1-16)
if [ -e "$folder/NOTICE" ] && [ "$(cat "$sources/.built" 2> /dev/null)" = "$stamp" ]; then
    exit 0
fi
command -v apt-get > /dev/null || stop "no apt-get here, which fetches the sources. A wheel without libbpf: pip wheel --no-deps ."
command -v dpkg-source > /dev/null || stop "dpkg-source is missing: apt-get install dpkg-dev"
"$python" -m ziglang version > /dev/null 2>&1 || "$python" -m pip install --quiet --disable-pip-version-check --group wheel

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# the distribution's own package sources, as sources of source packages; the system's lists stay as they are
mkdir -p "$work"/apt/{parts,lists/partial,cache/archives/partial} "$sources"
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    grep -qsE '^(deb|URIs:).*(debian|ubuntu)' "$list" || continue
    case $list in
    *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" ;;
    *.list) sed -nE 's/^deb /deb-src /p' "$list" ;;
    esac > "$work/apt/parts/$(basename "$list")"
done
apt=(apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/apt/parts"
    -o Dir::State::Lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User="$(id -un)")
echo "libbpf: building ${packages[*]} from Debian's source packages"
"${apt[@]}" update
rm -rf "$sources"
mkdir -p "$sources"
(cd "$sources" && "${apt[@]}" source --download-only "${packages[@]}" > /dev/null)
for package in "${packages[@]}"; do
    # apt has checked the archives against the distribution's signed lists
    dpkg-source --no-check -x "$sources/$package"_*.dsc "$work/$package" > /dev/null
done

export ZIG_GLOBAL_CACHE_DIR=$work/zig ZIG_LOCAL_CACHE_DIR=$work/zig
cc=("$python" -m ziglang cc -target "$(uname -m)-linux-gnu.2.17" -O2 -w -fPIC)
shared=(-shared -s -Wl,--no-undefined -Wl,--undefined-version -Wl,-z,relro -Wl,-z,now)
rm -rf "$folder"
mkdir -p "$folder" "$work/include" "$work/objects"
cp "$work"/zlib/{zlib,zconf}.h "$work"/elfutils/libelf/{libelf,gelf,nlist}.h "$work/include"
cp "$here/libbpf.config.h" "$work/include/config.h"

(cd "$work/objects" && "${cc[@]}" -fvisibility=hidden -D_LARGEFILE64_SOURCE -DHAVE_UNISTD_H -c \
    "$work"/zlib/{adler32,crc32,deflate,inffast,inflate,inftrees,trees,zutil,compress,uncompr,gzclose,gzlib,gzread,gzwrite}.c)
elf=$folder/libkwitness-elf.so.1 bpf=$folder/libkwitness-bpf.so.1
"${cc[@]}" "${shared[@]}" -std=gnu99 -DHAVE_CONFIG_H -I"$work/include" -I"$work/elfutils/lib" -I"$work/elfutils/libelf" \
    -Wl,-soname,"$(basename "$elf")" -Wl,--version-script="$work/elfutils/libelf/libelf.map" \
    "$work"/elfutils/libelf/*.c "$work"/objects/*.o -o "$elf"
"${cc[@]}" "${shared[@]}" -std=gnu89 -fvisibility=hidden -DSHARED -D_LARGEFILE64_SOURCE -D_FILE_OFFSET_BITS=64 \
    -I"$work/libbpf/src" -I"$work/libbpf/include" -I"$work/libbpf/include/uapi" -I"$work/include" \
    -Wl,-soname,"$(basename "$bpf")" -Wl,--version-script="$work/libbpf/src/libbpf.map" '-Wl,-rpath,$ORIGIN' \
    "$work"/libbpf/src/*.c "$work"/objects/*.o "$elf" -o "$bpf"

cp "$work/libbpf/LICENSE.BSD-2-Clause" "$folder/LICENSE.libbpf"
cat "$work"/elfutils/COPYING-LGPLV3 "$work/elfutils/COPYING" > "$folder/LICENSE.libelf"
sed -n '1,/\*\//p' "$work/zlib/zlib.h" > "$folder/LICENSE.zlib"
version() { basename "$(ls "$sources/$1"_*.dsc)" .dsc | sed 's/_/ /'; }
cat > "$folder/NOTICE" << END
The libraries in this folder were built from source packages of Debian, with their patches and without other changes:

libkwitness-bpf.so.1  $(version libbpf), libbpf; licence: BSD-2-Clause (LICENSE.libbpf)
libkwitness-elf.so.1  $(version elfutils), libelf; licence: LGPL-3.0-or-later (LICENSE.libelf)
in both               $(version zlib), zlib; licence: Zlib (LICENSE.zlib)

Another build of libelf with the same name in this folder takes the place of this one. To build both again from other
sources: tools/libbpf.sh of kwitness. The source packages are published with this wheel, as archives in the folder
$(basename "$sources"), and by Debian under the names above.
END
echo "$stamp" > "$sources/.built"
