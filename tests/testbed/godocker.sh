#!/usr/bin/env bash
# GO-Docker's own command line, as its users have it.
#
#   godocker.sh up      makes it, where it is not there yet
#   godocker.sh down    removes it
#
# Prints COMMANDS, the folder with godlogin, godjob, godbatch, godfile, godproject, goduser and godimage.
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# Its last version. Later versions of click refuse how it gives its options.
packages=(godocker_CLI==1.0.25 click==7.1.2)
folder=$testbed/godocker

# It was written for Python 2. Where Python 3 makes it fail before it has sent anything, or behind what came back, it is
# mended: it compares options that were not given with 0, joins bytes to text, and writes them as JSON.
mend() {
    local programs
    programs=$("$folder/bin/python" -c 'import bin; print(bin.__path__[0])')
    sed -Ei 's/^( *if \w+) >= 0:/\1 is not None:/' "$programs/godproject.py" "$programs/goduser.py"
    sed -i "s/^\( *tags = .*\)\.encode('utf-8')$/\1/" "$programs/godjob.py"
    sed -i "s/^\( *command=script\.read()\)$/\1.decode('utf-8')/" "$programs/godbatch.py"
}

works() {
    [ "$(cat "$folder/packages" 2>/dev/null)" = "${packages[*]}, mended thrice" ] && "$folder/bin/godlogin" --help >/dev/null 2>&1
}

up() {
    need python3 python3
    if ! works; then
        rm -rf "$folder"
        # Not a command: in Debian what environments are made with is a package of its own.
        python3 -c 'import ensurepip' 2>/dev/null || need ensurepip python3-venv
        python3 -m venv "$folder" >&2 || die "python3 cannot make a virtual environment (in Debian: python3-venv)"
        "$folder/bin/pip" --quiet --disable-pip-version-check install "${packages[@]}" >&2 ||
            die "godocker_CLI cannot be installed"
        mend
        echo "${packages[*]}, mended thrice" >"$folder/packages"
        works || die "godocker_CLI does not run with $(python3 --version)"
    fi
    echo "COMMANDS=$folder/bin"
}

case ${1:-} in
up)
    one_at_a_time godocker
    up
    ;;
down)
    one_at_a_time godocker
    rm -rf "$folder"
    ;;
*) usage ;;
esac
