#!/bin/bash
# Stands in for the official image's script: healthcheck.sh [--connect] [--innodb_initialized], all of which must hold.
# It asks over TCP as a user without rights, so that the server that only initialises the database is not taken for the real one.
set -eo pipefail

ask() { mariadb --defaults-extra-file=/var/lib/mysql/.my-healthcheck.cnf --batch --skip-column-names -e "$1"; }

[ $# -gt 0 ] || { echo "healthcheck.sh: what is to be checked?" >&2; exit 1; }
for test; do
	case $test in
	--connect) ask 'SELECT 1' >/dev/null ;;
	--innodb_initialized) [ "$(ask "SELECT support IN ('YES', 'DEFAULT') FROM information_schema.engines WHERE engine = 'InnoDB'")" = 1 ] ;;
	*) echo "healthcheck.sh: $test is not known here" >&2; exit 1 ;;
	esac
done
