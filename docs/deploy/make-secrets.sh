#!/bin/sh
# Makes the passwords and tokens of docker-compose.yml in ./secrets; those that exist stay. Run it at the top.
set -eu
umask 077
mkdir -p secrets
# Containers run as other users and read these files; the folder keeps the other users of this machine out.
make() { [ -s "secrets/$1" ] || { "$2" > "secrets/$1"; chmod 644 "secrets/$1"; }; }
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; echo; }
viewer() { printf 'viewer:'; random; }
for role in edge worker cloud-worker consumer monitor dashboard exporter operator grafana; do make "$role" random; done
make viewers viewer
echo "secrets/viewers holds the token that the dashboard asks for, secrets/grafana the password of Grafana's admin"
