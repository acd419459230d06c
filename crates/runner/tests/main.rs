//! What the runner makes and proves, on real files. One binary, for linking DataFusion takes long.

mod main {
    mod reconcile;
    mod reconcile_laws;
}
