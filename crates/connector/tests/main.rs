//! What crosses the edge, against real files and real servers. One binary, for linking DataFusion takes long.

mod main {
    mod broker;
    mod kafka;
    mod partitions;
    mod s3;
}
