//! What is wrong with a configuration, told so that the operator can mend it without asking anyone.

use std::fmt;

use serde::Serialize;

/// One mistake, where it stands, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The dotted key, such as `outputs[0].endpoints[1].weight`; empty for a mistake of the file as a whole.
    pub key: String,
    /// The value as written in the file, `***` for a secret; none for tables, lists and unknown keys.
    pub value: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Every mistake of one file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Problems {
    /// The file's name as the operator gave it.
    pub file: String,
    /// The mistakes.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.key.is_empty() {
            f.write_str(&self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Problems {
    /// One line for each problem: `gatepost.toml:12:5: outputs[0].endpoints[1].weight = 0: must be above 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{problem}", self.file)?;
        }
        Ok(())
    }
}
