//! The journal as its callers see it: through the public interface, on a real disk, across processes.

// Clippy's own exception is for functions marked as tests, not for what they call.
#![allow(clippy::unwrap_used)]

mod main {
    mod chain;
    mod lock;
}
