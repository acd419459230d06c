//! Which rows stand? One a key, in order; and what outputs of several regions say together.

pub(crate) mod agree;
pub(crate) mod compact;
pub(crate) mod held;
pub(crate) mod order;
pub(crate) mod sorted;
