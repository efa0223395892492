//! The relay's packet engine.
