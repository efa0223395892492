#!/bin/sh
# Installs the programs that the tests need beside Pancar itself: GStreamer's RTSP server, which plays the cameras,
# Chromium, which plays a viewer, coturn and a firewall, which stand between; with the argument `cluster` also what the
# test cluster's kubelets run pods with. Called by `make test` and `make cluster`. Where it may not install, it names what
# is missing; the tests that need it are then skipped, and with CI=true that skip is a failure.
set -eu

wanted="chromium coturn fonts-dejavu-core gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-bad gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly iproute2 nftables python3-gi"
if [ "${1:-}" = cluster ]; then
    wanted="$wanted busybox-static conntrack containerd containernetworking-plugins iptables runc"
fi

if ! command -v dpkg-query >/dev/null; then
    echo "no Debian packages here; the tests look for these themselves:" $wanted >&2
    exit 0
fi
missing=
for package in $wanted; do
    case $(dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null) in
        "install ok installed") ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "missing, their tests are skipped (apt-get install$missing)" >&2
    exit 0
fi
echo "installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends $missing >/dev/null </dev/null
# The tests start their own; Debian's package starts one for all the world.
case $missing in
    *coturn*) systemctl disable --now --quiet coturn >/dev/null 2>&1 || true ;;
esac
