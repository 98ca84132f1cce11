//! Replacing a program by another: ELF images and `#!` scripts.

mod image;

pub use image::Image;
