//! The journal as its callers see it: through the public interface, on a real disk, across processes.

mod main {
    mod chain;
    mod lock;
}
