#!/usr/bin/env bash
# End what up.sh has started, the last first, and remove its folder and the link to its configuration.
set -euo pipefail
folder=${S:-${TMPDIR:-/tmp}/medsynth-slurm}
config=/etc/slurm/slurm.conf

alive() { kill -0 "$1" 2> /dev/null; }

for note in $(find "$folder/pids" -type f | sort --reverse); do
	pid=$(< "$note")
	kill "$pid" 2> /dev/null || continue
	for _ in $(seq 50); do alive "$pid" && sleep 0.1; done
	! alive "$pid" || kill -KILL "$pid"
done
# A link that leads nowhere would keep every Snakemake waiting for a cluster.
[ "$(readlink "$config")" != "$folder/slurm.conf" ] || rm "$config"
rm -rf "$folder"
