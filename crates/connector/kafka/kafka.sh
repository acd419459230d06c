#!/usr/bin/env bash
# A real Apache Kafka for tests and for trying rescan out: one KRaft node on 127.0.0.1, its jars from Maven Central.
#
#   kafka.sh fetch              brings the jars to ${RESCAN_KAFKA_HOME:-~/.cache/rescan/kafka}, once
#   kafka.sh start DIR [PORT]   starts a broker in the background, all its files in DIR; prints HOST:PORT when ready
#   kafka.sh stop DIR           stops it; its topics stay in DIR
#   kafka.sh run                starts one on a directory of its own and prints HOST:PORT; when standard input ends, so
#                               does the broker, without a trace: whoever holds the other end can't leave it behind
#
# Exit codes: 0; 2 usage; 66 java or mvn is missing; 69 no network, or the broker did not start; 73 DIR is no good.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${RESCAN_KAFKA_HOME:-$HOME/.cache/rescan/kafka}
jars=$home/$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")

jvm=(-Xms64m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*")

fail() { echo "kafka.sh: $2" >&2; exit "$1"; }

need_java() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true
  [ "${version:-0}" -ge 17 ] ||
    fail 66 "needs java 17 or newer, found ${version:-none}: apt-get install openjdk-17-jre-headless"
}

fetch() {
  [ -d "$jars" ] && return
  command -v mvn >/dev/null || fail 66 "needs mvn to fetch Kafka's jars: apt-get install maven"
  mkdir -p "$home" || fail 73 "cannot create $home: set RESCAN_KAFKA_HOME"
  exec 9>"$home/lock"
  ! command -v flock >/dev/null || flock 9
  if [ ! -d "$jars" ]; then
    local new
    new=$(mktemp -d "$home/new.XXXXXX")
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$new" \
      >"$home/fetch.log" 2>&1 9>&- || {
      rm -rf "$new"
      fail 69 "cannot fetch Kafka from Maven Central: is there a network? mvn says why in $home/fetch.log"
    }
    mv "$new" "$jars"
  fi
  exec 9>&-
}

# Old and future timestamps are welcome, for what rescan writes is event time, and nothing is ever deleted for its age.
# The rest keeps the heap small.
properties() { # DIR PORT CONTROLLER_PORT
  cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$1/data
auto.create.topics.enable=false
log.retention.ms=-1
log.message.timestamp.after.max.ms=9223372036854775807
log.cleaner.dedupe.buffer.size=2097152
log.index.size.max.bytes=1048576
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
END
}

# The broker of DIR, and not whoever else has its process id by now.
alive() { # DIR
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) || return
  { tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o args= -p "$pid"; } 2>/dev/null | grep -qF "$1/server.properties"
}

format() { # DIR
  [ -e "$1/data/meta.properties" ] && return
  local id
  id=$(od -An -N11 -tx1 /dev/urandom | tr -d ' \n')
  java "${jvm[@]}" kafka.tools.StorageTool format -t "$id" -c "$1/server.properties" >"$1/format.log" 2>&1 ||
    fail 73 "cannot prepare $1/data: $(tail -n 1 "$1/format.log")"
}

# A port is free if the broker gets it: to look first and take it then would be a race.
launch() { # DIR PORT: 0 once the broker answers, 1 where a port was taken
  properties "$1" "$2" $((20000 + RANDOM % 12000)) >"$1/server.properties"
  format "$1"
  : >"$1/log"
  nohup java "${jvm[@]}" kafka.Kafka "$1/server.properties" </dev/null >"$1/log" 2>&1 &
  local pid=$!
  disown $pid
  echo $pid >"$1/pid"
  for _ in $(seq 600); do
    if grep -q 'Kafka Server started' "$1/log"; then return; fi
    if ! kill -0 $pid 2>/dev/null; then
      if grep -q 'Address already in use' "$1/log"; then return 1; fi
      fail 69 "the broker did not start: $(grep -m 1 -E 'ERROR|Exception' "$1/log" || echo no reason given): see $1/log"
    fi
    sleep 0.1
  done
  kill -9 $pid
  fail 69 "the broker did not start within a minute: see $1/log"
}

start() { # DIR [PORT]
  local wanted=${2:-} port
  if alive "$1"; then
    port=$(cut -d: -f2 "$1/address")
    [ "${wanted:-$port}" = "$port" ] || fail 69 "a broker runs in $1 already, on port $port"
    cat "$1/address"
    return
  fi
  for _ in $(seq 10); do
    port=${wanted:-$((20000 + RANDOM % 12000))}
    if launch "$1" "$port"; then
      echo "127.0.0.1:$port" | tee "$1/address"
      return
    fi
    if [ -n "$wanted" ] && grep -q ":$wanted: Address already in use" "$1/log"; then
      fail 69 "port $wanted is taken: leave it out, or name another"
    fi
  done
  fail 69 "found no free port in 10 tries"
}

stop() { # DIR [SIGNAL]
  alive "$1" || return 0
  kill "${2:--TERM}" "$(cat "$1/pid")"
  for _ in $(seq 100); do
    alive "$1" || return 0
    sleep 0.1
  done
  kill -9 "$(cat "$1/pid")"
}

directory() { # DIR, made if need be, as an absolute path
  mkdir -p "$1" 2>/dev/null && cd "$1" && pwd
}

usage() { fail 2 "usage: kafka.sh fetch | start DIR [PORT] | stop DIR | run"; }

case ${1:-}:$# in
fetch:1) need_java; fetch ;;
start:2 | start:3)
  need_java
  fetch
  dir=$(directory "$2") || fail 73 "cannot create $2"
  start "$dir" "${3:-}"
  ;;
stop:2)
  dir=$(directory "$2") || fail 73 "there is no $2"
  stop "$dir"
  ;;
run:1)
  need_java
  fetch
  dir=$(mktemp -d)
  trap 'stop "$dir" -KILL; rm -rf "$dir"' EXIT
  trap 'exit 130' INT TERM HUP
  start "$dir"
  cat >/dev/null
  ;;
*) usage ;;
esac
