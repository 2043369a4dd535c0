#!/bin/bash
# Finds its database as sameersbn/redmine does: DB_* first, then the link "postgresql". As there, that link's variables
# say that there is one, its port and whose database it is; its address is asked of its name.
set -e

fail() { printf '\n%s\nAborting...\n\n' "$*"; exit 1; }

# first NAME...: the value of the first of these variables that has one
first() {
	local name
	for name; do
		if [[ -n ${!name} ]]; then printf %s "${!name}"; return; fi
	done
}

as() { HOME=$REDMINE_HOME setpriv --reuid="$REDMINE_USER" --regid="$REDMINE_USER" --init-groups "$@"; }

find_database() {
	if [[ -z $DB_HOST && -n $POSTGRESQL_PORT_5432_TCP_ADDR ]]; then
		local link=POSTGRESQL_ENV
		DB_HOST=postgresql
		DB_PORT=$(first DB_PORT POSTGRESQL_PORT_5432_TCP_PORT)
		DB_USER=$(first DB_USER ${link}_POSTGRES_USER ${link}_DB_USER ${link}_POSTGRESQL_USER ${link}_USER)
		DB_PASS=$(first DB_PASS ${link}_POSTGRES_PASSWORD ${link}_DB_PASS ${link}_POSTGRESQL_PASS ${link}_PASS)
		DB_NAME=$(first DB_NAME ${link}_POSTGRES_DB ${link}_DB_NAME ${link}_POSTGRESQL_DB ${link}_DB)
	fi
	: "${DB_PORT:=5432}" "${DB_USER:=root}" "${DB_NAME:=redmine_production}"
	[[ -n $DB_HOST ]] || fail "ERROR: Please configure the database connection. Cannot continue without a database."
}

configure() {
	local etc=/etc/redmine/default secret=$REDMINE_DATA_DIR/tmp/secret folder
	echo "Configuring redmine..."
	install -d -o "$REDMINE_USER" -g "$REDMINE_USER" $etc "$REDMINE_DATA_DIR"/{files,tmp} "$REDMINE_LOG_DIR" /var/lib/redmine/default/files
	cat > $etc/database.yml <<-YAML
	production:
	  adapter: postgresql
	  encoding: unicode
	  host: "$DB_HOST"
	  port: $DB_PORT
	  database: "$DB_NAME"
	  username: "$DB_USER"
	  password: "$DB_PASS"
	  pool: ${DB_POOL:-5}
	YAML
	[[ -e $secret ]] || head -c 64 /dev/urandom | sha512sum | cut -d' ' -f1 > "$secret"
	printf 'production:\n  secret_key_base: %s\n' "$(< "$secret")" > $etc/secrets.yml
	chown -R "$REDMINE_USER:" $etc "$REDMINE_DATA_DIR" "$REDMINE_LOG_DIR"
	for folder in /var/lib/redmine /var/cache/redmine /var/log/redmine /usr/share/redmine/tmp /run/redmine; do
		mkdir -p $folder
		chown -R "$REDMINE_USER:" "$(readlink -f $folder)"
	done
}

await_database() {
	local end=$((SECONDS + ${DB_WAIT:-300}))
	printf 'Waiting for database server to accept connections'
	until PGPASSWORD=$DB_PASS psql -X -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" -d "$DB_NAME" -c 'SELECT 1' >/dev/null 2>&1; do
		((SECONDS < end)) || fail "Could not connect to database server."
		printf .
		sleep 0.5
	done
	echo
}

migrate() {
	local marker=$REDMINE_DATA_DIR/tmp/VERSION
	[[ $(cat "$marker" 2>/dev/null) != "$REDMINE_VERSION" ]] || return 0
	echo "Migrating database. Please be patient, this could take a while..."
	as bundle exec rake db:migrate >/dev/null
	echo "$REDMINE_VERSION" > "$marker"
}

export SCHEMA=$REDMINE_DATA_DIR/tmp/schema.rb RAILS_ENV=production X_DEBIAN_SITEID=default LANG=C.UTF-8 RAILS_LOG_TO_STDOUT=1
case ${1:-app:start} in
app:start|app:init|app:rake)
	find_database
	configure
	await_database
	cd /usr/share/redmine
	case $1 in
	app:rake)
		shift
		as bundle exec rake "$@"
		exit
		;;
	app:init)
		migrate
		exit
		;;
	esac
	migrate
	echo "Starting redmine on port 80..."
	export HOME=$REDMINE_HOME
	exec setpriv --reuid="$REDMINE_USER" --regid="$REDMINE_USER" --init-groups puma -e production -b tcp://0.0.0.0:80 -t 1:4 config.ru
	;;
app:help) echo "Available options: app:start app:init app:rake <task> app:help [command]" ;;
*) exec "$@" ;;
esac
