//! Berth's states in the words of other systems.

pub mod godocker;
