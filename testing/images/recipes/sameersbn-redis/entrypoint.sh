#!/bin/bash
# Stands in for sameersbn/redis's entrypoint: REDIS_PASSWORD; options are redis-server's, another command is run instead.
set -e
if [[ -n $1 && $1 != -* && $1 != redis-server ]]; then exec "$@"; fi
[[ $1 != redis-server ]] || shift
install -d -o "$REDIS_USER" -g "$REDIS_USER" -m 0755 "$REDIS_DATA_DIR" "$REDIS_LOG_DIR" /run/redis
echo "Starting redis-server..."
exec setpriv --reuid="$REDIS_USER" --regid="$REDIS_USER" --init-groups \
	redis-server /etc/redis/redis.conf ${REDIS_PASSWORD:+--requirepass "$REDIS_PASSWORD"} "$@"
