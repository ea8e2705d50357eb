//! What is wrong with a configuration file, with the place of each problem.

use std::fmt;

/// Every problem of one configuration file; shown one per line as `FILE:LINE: TABLE KEY: remedy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    problems: Vec<Problem>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// Table, key, what is wrong and what to write instead.
    pub text: String,
}

impl ConfigError {
    /// The problems of the file at `path`, sorted by line; what is said twice is kept once.
    pub(super) fn new(path: String, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { path, problems }
    }

    /// The problems, in the order of lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}: {}", self.path, problem.line, problem.text)?;
        }
        Ok(())
    }
}
