#!/bin/sh
# The main job on made-up data: every command as batch and as stream, and the proof that both give the same.
set -eu
rescan=${RESCAN:?path of the binary}
out=${1:-demo}
rm -rf "$out"

say() { printf '\n%s\n' "$*" >&2; }
run() { printf '$ rescan %s\n' "$*" >&2; "$rescan" "$@"; }

say "Three hours of made-up events in the order they arrive: some late, some twice, some broken."
run generate --hours 3 --impressions-per-hour 100000 --to "$out/raw"

say "ingest: every event once, in hourly Parquet, in whatever order they come. Broken rows are kept aside."
run ingest --in "$out/raw/impressions.jsonl" --schema impressions --out "$out/impressions"
run ingest --in "$out/raw/plays.jsonl" --schema plays --out "$out/plays"

say "Batch: f over the hours of Parquet."
run join --in impressions="$out/impressions" --in plays="$out/plays" --out "$out/joined-batch"
run aggregate --in impressions="$out/impressions" --in plays="$out/plays" --out "$out/counts-batch"
run attribute --in impressions="$out/impressions" --in plays="$out/plays" --model last,linear --out "$out/attributed-batch"
run attribute --in impressions="$out/impressions" --in plays="$out/plays" --tuples --context country,device \
  --out "$out/tuples-batch"
run stratify --in "$out/impressions" --size 6000 --strata device --report "$out/sample.html" --out "$out/sample-batch"

say "Stream: the same f over micro-batches of the raw files."
run join --in impressions="$out/raw/impressions.jsonl" --in plays="$out/raw/plays.jsonl" --out "$out/joined-stream"
run aggregate --in impressions="$out/raw/impressions.jsonl" --in plays="$out/raw/plays.jsonl" --out "$out/counts-stream"
run attribute --in impressions="$out/raw/impressions.jsonl" --in plays="$out/raw/plays.jsonl" --model last,linear \
  --out "$out/attributed-stream"
run attribute --in impressions="$out/raw/impressions.jsonl" --in plays="$out/raw/plays.jsonl" --tuples \
  --context country,device --out "$out/tuples-stream"
run stratify --in "$out/raw/impressions.jsonl" --schema impressions --size 6000 --strata device \
  --out "$out/sample-stream"

say "A rehearsal of a stream: time goes on while rows come, and some of them are late. They are kept aside."
run join --in impressions="$out/raw/impressions.jsonl" --in plays="$out/raw/plays.jsonl" --watermark-delay 30m \
  --out "$out/joined-rehearsal"

say "Do they agree?"
run reconcile --batch "$out/joined-batch" --stream "$out/joined-stream"
run reconcile --batch "$out/counts-batch" --stream "$out/counts-stream"
run reconcile --batch "$out/attributed-batch" --stream "$out/attributed-stream"
run reconcile --batch "$out/tuples-batch" --stream "$out/tuples-stream"
run reconcile --batch "$out/sample-batch" --stream "$out/sample-stream"

say "What would another policy have earned, by slot? The tuples are there, and only the report is made."
run attribute --in impressions="$out/impressions" --in plays="$out/plays" --tuples --context country,device \
  --policy 'popular=case when action < 80000010 then 1 else 0 end' --report "$out/policies.html" --out "$out/tuples-batch"

say "What the stream's journal accounts for:"
run inspect "$out/joined-stream"

say "What was injected, by the generator's own account, is in $out/raw/truth.json.
For a browser, without a network: $out/policies.html and $out/sample.html.
Next: rescan join --help; rescan sql join; make kafka, and --in NAME=kafka://127.0.0.1:9092/TOPIC."
