//! The file and the environment → checked values.
