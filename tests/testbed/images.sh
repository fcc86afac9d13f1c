# shellcheck shell=bash
# The test images. Sourced after lib.sh.

# with_libraries ROOT PROGRAM: copies a program and what it is linked with.
with_libraries() {
    local root=$1 program=$2 library
    install -D "$program" "$root$program"
    { ldd "$program" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
        install -D "$library" "$root$library"
    done
}

# tree_plain ROOT: what every image has but the bare one.
tree_plain() {
    local root=$1 applet
    mkdir -p "$root"/{bin,dev,etc,proc,root,sys,tmp,usr/bin,home/someone}
    chmod 1777 "$root/tmp"
    chown 1234:1234 "$root/home/someone"
    install "$(command -v busybox)" "$root/bin/busybox"
    "$root/bin/busybox" --list | while read -r applet; do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    ln -s /bin/env "$root/usr/bin/env"
    printf '%s\n' root:x:0:0::/root:/bin/sh someone:x:1234:1234::/home/someone:/bin/sh >"$root/etc/passwd"
    printf '%s\n' root:x:0: someone:x:1234: >"$root/etc/group"
    # Something that is there and is no program.
    printf 'no program\n' >"$root/etc/not-a-program"
    chmod 644 "$root/etc/not-a-program"
}

tree_bash() {
    tree_plain "$1"
    with_libraries "$1" "$(readlink -f "$(command -v bash)")"
    [ -e "$1/bin/bash" ] || ln -s /usr/bin/bash "$1/bin/bash"
}

tree_bare() {
    local root=$1 name
    mkdir -p "$root"/{bin,dev,proc,sys,tmp}
    for name in true false cat echo sleep env printenv; do
        install "$(command -v busybox)" "$root/bin/$name"
    done
}

# load_images SOCKET: those that the engine lacks.
load_images() {
    local socket=$1 kind image root
    for kind in plain bash bare; do
        image=image_$kind
        image=${!image}
        engine "$socket" image inspect "$image" >/dev/null 2>&1 && continue
        need busybox busybox-static
        root=$(mktemp -d "$testbed/tree.XXXXXX")
        chmod 755 "$root"
        "tree_$kind" "$root"
        tar -C "$root" --numeric-owner -c . |
            engine "$socket" import -c 'ENV PATH=/usr/bin:/bin' -c 'CMD ["/bin/sh"]' - "$image" >/dev/null
        rm -rf "$root"
    done
}

tell_images() {
    printf '%s\n' IMAGE_PLAIN=$image_plain IMAGE_BASH=$image_bash IMAGE_BARE=$image_bare
}
