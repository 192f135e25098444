//! Tests of the engine: events in, changes and actions out, without a clock.
