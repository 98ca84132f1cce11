# Makes a database cluster, starts its server, talks to it, stops it.
set -e
data=$(mktemp -d "$PWD/data.XXXXXX")
trap 'rm -rf "$data"' EXIT
initdb --pgdata="$data/cluster" --auth=trust --no-sync --username=tester >"$data/log" 2>&1 || { cat "$data/log"; exit 1; }
pg_ctl --pgdata="$data/cluster" --options="-k $data -h ''" --log="$data/log" --wait start >/dev/null || { cat "$data/log"; exit 1; }
ask() { psql --host="$data" --username=tester --dbname=postgres --no-align --tuples-only --command="$1"; }
ask 'create table t as select i, md5(i::text) as text from generate_series(1, 50000) i'
ask 'create index on t (text)'
for n in 1 2 3; do ask "update t set text = text || '$n' where i % 10 = $n" & done
wait
ask 'select count(*), sum(i), min(text), max(text), sum(length(text)) from t'
ask 'set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set min_parallel_table_scan_size = 0; select sum(length(text)) from t'
pg_ctl --pgdata="$data/cluster" --wait stop >/dev/null
