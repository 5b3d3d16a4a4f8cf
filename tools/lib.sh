# What tools/up and tools/test share: system packages and virtual environments. Sourced, not run.
#
#   ensure_packages PKG...   installs what is missing through apt where it may (root or passwordless
#                            sudo); elsewhere names what to install, and returns 1
#   ensure_venv [EXTRAS]     makes .venv with kilonova, editable, and its comma-separated extras
#   ensure_clients           makes .venv-clients with the programs that the tests run from outside
#
# Each returns at once when there is nothing to do. An extra that cannot be built here is left out, with
# a word about what it lacks, so that the rest still works.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
venv_clients=$root/.venv-clients
clients="python-openstackclient osc-placement tempest keystone glance neutron cinder manila PyMySQL gunicorn"
libvirt_packages="libvirt-daemon libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils"
network_packages="openvswitch-switch dnsmasq-base iptables iproute2 e2fsprogs curl"
firmware_packages="ovmf swtpm swtpm-tools"
container_packages="libvirt-daemon-driver-lxc busybox-static"
guest_packages="cpio xz-utils syslinux mtools dosfstools binutils"
libvirt_build_packages="gcc libc6-dev pkg-config libvirt-dev"

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# as_root COMMAND...: runs it as root, or returns 1 where that takes a password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@" 2>/dev/null; fi
}

may_install() {
    command -v apt-get >/dev/null && as_root true
}

missing_packages() {
    local package
    for package in "$@"; do
        # ${db:...} is dpkg-query's, not the shell's.
        # shellcheck disable=SC2016
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            printf '%s ' "$package"
    done
}

ensure_packages() {
    local missing
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if ! may_install; then
        say "Missing, and apt may not be used here. As an administrator: apt-get install $missing"
        return 1
    fi
    say "Installing $missing"
    # shellcheck disable=SC2086
    apt_install $missing || { as_root apt-get update -qq >&2 && apt_install $missing; } || {
        say "apt-get install $missing failed."
        return 1
    }
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2
}

# find_python: prints a Python of at least 3.11; $KILONOVA_PYTHON names one.
find_python() {
    local candidate
    for candidate in ${KILONOVA_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die "kilonova needs Python 3.11 or later; none was found (KILONOVA_PYTHON can name one)."
}

# make_environment DIR: a virtual environment with pip, kept if it works.
make_environment() {
    local python version
    "$1/bin/python" -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2>/dev/null || ensure_packages "python$version-venv" ||
        die "$python cannot make virtual environments."
    "$python" -m venv --clear "$1"
}

# can_build_libvirt: whether libvirt's Python binding, which comes as source, can be compiled.
can_build_libvirt() {
    local header dev=
    header=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
    [ -e "$header" ] || dev=$("$venv/bin/python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')
    # shellcheck disable=SC2086
    ensure_packages $libvirt_build_packages $dev
}

# stamp_key FILE...: changes with the files, and with where the checkout stands.
stamp_key() {
    (cd "$root" && pwd && cat "$@") | sha256sum | cut -c1-64
}

# stamped DIR KEY EXTRAS: whether DIR was made with this key and at least these extras, and still runs.
stamped() {
    local key have extra
    [ -e "$1/kilonova-stamp" ] || return 1
    { read -r key && read -r have; } <"$1/kilonova-stamp" || return 1
    [ "$key" = "$2" ] || return 1
    for extra in ${3//,/ }; do
        case ",$have," in *",$extra,"*) ;; *) return 1 ;; esac
    done
    "$1/bin/python" -c '' 2>/dev/null
}

pip_install() {
    "$1/bin/python" -m pip install -qq --disable-pip-version-check "${@:2}" >&2 ||
        die "pip could not install into $1."
}

ensure_venv() {
    local extras=${1:-} key
    key=$(stamp_key setup.cfg pyproject.toml constraints.txt)
    stamped "$venv" "$key" "$extras" && return
    # One at a time; the directory itself is the lock, so nothing is left behind.
    exec 9<"$root" && flock 9
    if ! stamped "$venv" "$key" "$extras"; then
        make_environment "$venv"
        # What was asked for before stays.
        extras=$(printf '%s\n' ${extras//,/ } $(sed -n '2s/,/ /gp' "$venv/kilonova-stamp" 2>/dev/null) | sort -u | paste -sd,)
        case ",$extras," in *,libvirt,*)
            if ! can_build_libvirt; then
                say "Going on without libvirt's Python binding: compute hosts on libvirt will not work."
                extras=$(printf '%s' "$extras" | tr , '\n' | grep -vx libvirt | paste -sd,)
            fi ;;
        esac
        if ! stamped "$venv" "$key" "$extras"; then
            say "Installing kilonova into .venv"
            (cd "$root" && pip_install "$venv" -c constraints.txt -e ".${extras:+[$extras]}")
            printf '%s\n%s\n' "$key" "$extras" >"$venv/kilonova-stamp"
        fi
    fi
    exec 9<&-
}

ensure_clients() {
    local key
    key="$(stamp_key constraints-clients.txt) $clients"
    stamped "$venv_clients" "$key" "" && return
    exec 9<"$root/tools" && flock 9
    if ! stamped "$venv_clients" "$key" ""; then
        make_environment "$venv_clients"
        say "Installing $clients into .venv-clients"
        # shellcheck disable=SC2086
        pip_install "$venv_clients" -c "$root/constraints-clients.txt" $clients
        printf '%s\n\n' "$key" >"$venv_clients/kilonova-stamp"
    fi
    exec 9<&-
}
