//! Spaces with pages, on the test platform.

mod copies;
mod failures;
mod faults;
mod files;
mod forks;
mod live;
mod moves;
mod threads;
mod world;
