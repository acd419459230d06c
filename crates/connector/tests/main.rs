//! What crosses the edge, against real files and real servers. One binary, for linking DataFusion takes long.

#[cfg(test)]
mod main {
    mod files;
    mod follow_histories;
    mod followed;
    mod kafka;
    mod kafka_changes;
    mod partitions;
    mod replay;
    mod rotation;
}
