//! Carrying out the engine's actions.
