//! The binary as its users run it. One test binary, for linking DataFusion takes long.

mod main {
    mod commands;
    mod errors;
    mod golden;
    mod readme;
    mod resume;
    mod workdir;
}
