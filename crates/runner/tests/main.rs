//! What the runner makes and proves, on real files. One binary, for linking DataFusion takes long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod main {
    mod bounded_state;
    mod outputs;
    mod partitions;
    mod player;
    mod reconcile;
    mod reconcile_laws;
    mod stream_laws;
}
