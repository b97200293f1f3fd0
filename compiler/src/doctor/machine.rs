//! The way to the facts of a host.

use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    /// A file's content can be changed, or files made in a directory.
    Write,
}

/// Questions about a host. Most facts are text under `/proc` and `/sys`.
pub trait Machine {
    /// A small text file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The last part of where a link leads; none: the link does not exist.
    fn link(&self, path: &Path) -> Option<String>;

    fn exists(&self, path: &Path) -> bool;

    fn may(&self, path: &Path, access: Access) -> bool;

    /// An environment variable that is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// Where an executable is: beside this one, in the directories, in `PATH`.
    fn program(&self, name: &str, directories: &[PathBuf]) -> Option<PathBuf>;

    /// What a program that ends within a few seconds prints to stdout.
    ///
    /// # Errors
    /// The first line that it prints to stderr, or why it could not be run.
    fn run(&self, program: &Path, args: &[&str]) -> Result<String, String>;
}
