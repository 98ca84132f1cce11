//! Spaces with pages, on the test platform.

mod blocks;
mod copies;
mod failures;
mod faults;
mod files;
mod forks;
mod live;
mod moves;
mod threads;
mod world;
