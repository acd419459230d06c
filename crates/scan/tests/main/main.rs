//! f itself: the laws for every script, and the contract that scripts keep.

mod events;
mod laws;
mod refusals;
