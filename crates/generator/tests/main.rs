//! Tests of the generator from the outside: what it wrote, read back by other means.

#[cfg(test)]
mod main {
    mod flags;
    mod plan;
    mod recount;
    mod same_bytes;
    mod two_formats;
}
