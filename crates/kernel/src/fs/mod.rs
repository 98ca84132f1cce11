//! What a task knows of files.

mod task_files;

pub use task_files::TaskFiles;
