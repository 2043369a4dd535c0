#!/bin/sh
# Stands in for the official image's entrypoint: options alone are haproxy's, and haproxy runs in the foreground as a
# master with a worker, which a signal can have read its file again.
set -e
case ${1:-} in -*) set -- haproxy "$@";; esac
if [ "${1:-}" = haproxy ]; then
	shift
	set -- haproxy -W -db "$@"
fi
exec "$@"
