#!/bin/bash
# Stands in for sameersbn/postgresql's entrypoint: DB_USER, DB_PASS, DB_NAME, DB_EXTENSION, DB_TEMPLATE, PG_PASSWORD,
# PG_TRUST_LOCALNET; options are postgres's, another command is run instead.
set -e
if [[ -n $1 && $1 != -* && $1 != postgres ]]; then exec "$@"; fi
[[ $1 != postgres ]] || shift

as()    { setpriv --reuid="$PG_USER" --regid="$PG_USER" --init-groups "$@"; }
quote() { printf "'%s'" "${1//\'/\'\'}"; }
sql()   { as psql -X -q -v ON_ERROR_STOP=1 -h "$PG_RUNDIR" -U "$PG_USER" -d "${2:-postgres}" -tAc "$1"; }

echo "Initializing datadir..."
install -d -o "$PG_USER" -g "$PG_USER" -m 0700 "$PG_HOME" "$PG_DATADIR"
install -d -o "$PG_USER" -g "$PG_USER" -m 2775 "$PG_RUNDIR"
if [[ ! -f $PG_DATADIR/PG_VERSION ]]; then
	echo "Initializing database..."
	as "$PG_BINDIR/initdb" --pgdata="$PG_DATADIR" --username="$PG_USER" --encoding=unicode --locale=C.UTF-8 --auth=trust --no-sync >/dev/null
	cat >> "$PG_DATADIR/postgresql.conf" <<-CONF
		listen_addresses = '*'
		unix_socket_directories = '$PG_RUNDIR'
		log_destination = stderr
		jit = off
	CONF
	{
		[[ ${PG_TRUST_LOCALNET:-false} != true ]] || echo "host all all samenet trust"
		echo "host all all 0.0.0.0/0 md5"
		echo "host all all ::/0 md5"
	} >> "$PG_DATADIR/pg_hba.conf"
fi
if [[ -n $DB_USER$DB_NAME$PG_PASSWORD ]]; then
	# For itself only: nobody is to meet a server without the databases that were asked for.
	as "$PG_BINDIR/pg_ctl" -D "$PG_DATADIR" -w -s -o "-c listen_addresses=''" start
	[[ -z $PG_PASSWORD ]] || sql "ALTER ROLE \"$PG_USER\" WITH ENCRYPTED PASSWORD $(quote "$PG_PASSWORD")"
	if [[ -n $DB_USER ]]; then
		[[ -n $DB_PASS ]] || { echo "ERROR! Please specify a password for DB_USER in DB_PASS. Exiting..."; exit 1; }
		echo "Creating database user: $DB_USER"
		[[ $(sql "SELECT 1 FROM pg_roles WHERE rolname=$(quote "$DB_USER")") == 1 ]] ||
			sql "CREATE ROLE \"$DB_USER\" WITH LOGIN CREATEDB ENCRYPTED PASSWORD $(quote "$DB_PASS")"
	fi
	for name in ${DB_NAME//,/ }; do
		echo "Creating database: $name..."
		[[ $(sql "SELECT 1 FROM pg_database WHERE datname=$(quote "$name")") == 1 ]] ||
			sql "CREATE DATABASE \"$name\" WITH TEMPLATE = \"${DB_TEMPLATE:-template1}\""
		for extension in ${DB_EXTENSION//,/ }; do
			echo "‣ Loading $extension extension..."
			sql "CREATE EXTENSION IF NOT EXISTS $extension" "$name"
		done
		if [[ -n $DB_USER ]]; then
			echo "‣ Granting access to $DB_USER user..."
			sql "GRANT ALL PRIVILEGES ON DATABASE \"$name\" TO \"$DB_USER\""
			sql "ALTER DATABASE \"$name\" OWNER TO \"$DB_USER\""
		fi
	done
	as "$PG_BINDIR/pg_ctl" -D "$PG_DATADIR" -w -s -m fast stop
fi
echo "Starting PostgreSQL $PG_VERSION..."
exec setpriv --reuid="$PG_USER" --regid="$PG_USER" --init-groups "$PG_BINDIR/postgres" -D "$PG_DATADIR" "$@"
