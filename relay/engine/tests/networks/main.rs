//! Viewers on networks of every kind, in virtual time: two real ends on a fake wire.

#[path = "../common/mod.rs"]
mod common;
mod impaired;
mod receiver;
mod sealing;
mod switching;
mod world;
