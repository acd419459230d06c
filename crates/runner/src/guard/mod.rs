//! Is what lies in an output ours, and as it was sealed? Which run may write it, which files are of others, which are
//! damaged, and what a killed run had decided.

pub(crate) mod foreign;
pub(crate) mod intact;
pub(crate) mod owner;
pub(crate) mod roll_forward;
