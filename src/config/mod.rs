//! The file and the environment → checked values.

pub mod zones;
