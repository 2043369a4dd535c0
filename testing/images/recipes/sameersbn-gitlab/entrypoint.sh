#!/bin/bash
# Finds database and Redis as sameersbn/gitlab does: DB_* and REDIS_* first, then the variables of the links "postgresql"
# and "redisio". As there, the names of the links don't do: without the variables there is no start.
set -e

fail() { printf '\n%s\nAborting...\n\n' "$*"; exit 1; }

# first NAME...: the value of the first of these variables that has one
first() {
	local name
	for name; do
		if [[ -n ${!name} ]]; then printf %s "${!name}"; return; fi
	done
}

configure() {
	[[ -n $GITLAB_SECRETS_DB_KEY_BASE ]] || fail "ERROR: Please configure the GITLAB_SECRETS_DB_KEY_BASE parameter. Cannot continue."
	[[ -z $MYSQL_PORT_3306_TCP_ADDR ]] || fail "ERROR: This stand-in knows PostgreSQL only, and there is a link named mysql."
	local link=POSTGRESQL_ENV
	export DB_HOST=$(first DB_HOST POSTGRESQL_PORT_5432_TCP_ADDR)
	export DB_PORT=$(first DB_PORT POSTGRESQL_PORT_5432_TCP_PORT)
	export DB_USER=$(first DB_USER ${link}_POSTGRES_USER ${link}_DB_USER ${link}_POSTGRESQL_USER ${link}_USER)
	export DB_PASS=$(first DB_PASS ${link}_POSTGRES_PASSWORD ${link}_DB_PASS ${link}_POSTGRESQL_PASS ${link}_PASS)
	export DB_NAME=$(first DB_NAME ${link}_POSTGRES_DB ${link}_DB_NAME ${link}_POSTGRESQL_DB ${link}_DB)
	export REDIS_HOST=$(first REDIS_HOST REDISIO_PORT_6379_TCP_ADDR)
	export REDIS_PORT=$(first REDIS_PORT REDISIO_PORT_6379_TCP_PORT)
	: "${DB_PORT:=5432}" "${DB_USER:=root}" "${DB_NAME:=gitlabhq_production}" "${REDIS_PORT:=6379}"
	[[ -n $DB_HOST ]] || fail "ERROR: Please configure the database connection. Cannot continue without a database."
	[[ -n $REDIS_HOST ]] || fail "ERROR: Please configure the redis connection. Cannot continue without a redis connection."
}

start_sshd() {
	local keys=$GITLAB_DATA_DIR/ssh kind options=()
	install -d -o git -g git "$GITLAB_DATA_DIR" "$keys"
	for kind in rsa ed25519; do
		[[ -e $keys/ssh_host_${kind}_key ]] || ssh-keygen -q -t $kind -N '' -f "$keys/ssh_host_${kind}_key"
		options+=(-o "HostKey=$keys/ssh_host_${kind}_key")
	done
	echo "Initializing sshd..."
	mkdir -p /run/sshd
	/usr/sbin/sshd "${options[@]}" -o PasswordAuthentication=no
}

case ${1:-app:start} in
app:start|app:init)
	configure
	start_sshd
	python3 app.py migrate
	[[ $1 != app:init ]] || exit 0
	exec python3 app.py serve
	;;
app:help) echo "Available options: app:start app:init app:help [command]" ;;
*) exec "$@" ;;
esac
