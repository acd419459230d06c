//! The binary as its users run it. One test binary, for linking DataFusion takes long.

#[cfg(test)]
mod main {
    mod begun;
    mod bounded;
    mod buckets;
    mod causes;
    mod commands;
    mod complete;
    mod damage;
    mod dice;
    mod disks;
    mod dry_run;
    mod duckdb;
    mod ends;
    mod errors;
    mod explain_play;
    mod fates;
    mod flags;
    mod followed;
    mod foreign;
    mod foreign_parquet;
    mod golden;
    mod histories;
    mod history;
    mod hostile;
    mod identity;
    mod idle;
    mod init_state;
    mod kafka;
    mod layouts;
    mod ledgers;
    mod limits;
    mod make_deps;
    mod memory;
    mod merge;
    mod merge_outputs;
    mod misfiled;
    mod openbandit;
    mod parquet_types;
    mod passed_over;
    mod poison;
    mod pool;
    mod raw_rows;
    mod readme;
    mod resume;
    mod side;
    mod side_by_side;
    mod stratify;
    mod tuples;
    mod windows;
    mod workdir;
}
