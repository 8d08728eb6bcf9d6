//! Template expressions as a tree: calls of functions, texts, numbers, and what is taken out of their values.

/// Calls within calls.
const DEPTH: usize = 32;

/// Characters of an expression: ARM's own limit.
const LENGTH: usize = 24_576;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Text(String),
    Number(i64),
    /// A function by its name, in lower case.
    Call(String, Vec<Expr>),
    /// What stands under these keys, one in the other: `.name`, `[0]`, `['name']`. Never empty.
    Member(Box<Expr>, Vec<Expr>),
}

/// Reads what stands between `[` and `]`.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    if text.len() > LENGTH {
        return Err(format!("it is longer than {LENGTH} bytes"));
    }
    let mut reader = Reader { rest: text };
    let expr = reader.expression(DEPTH)?;
    reader.skip();
    if reader.rest.is_empty() { Ok(expr) } else { Err(reader.unexpected("the end")) }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn expression(&mut self, depth: usize) -> Result<Expr, String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        self.skip();
        let expr = match self.rest.chars().next() {
            Some('\'') => self.quoted().map(Expr::Text)?,
            Some(c) if c.is_ascii_digit() || c == '-' => self.number()?,
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.call(depth)?,
            _ => return Err(self.unexpected("a function, a text in '…' or a number")),
        };
        let keys = self.keys(depth)?;
        Ok(if keys.is_empty() { expr } else { Expr::Member(Box::new(expr), keys) })
    }

    fn keys(&mut self, depth: usize) -> Result<Vec<Expr>, String> {
        let mut keys = Vec::new();
        loop {
            if self.take('.') {
                keys.push(Expr::Text(self.name().to_owned()));
            } else if self.take('[') {
                keys.push(self.expression(depth)?);
                self.want(']')?;
            } else {
                return Ok(keys);
            }
        }
    }

    fn call(&mut self, depth: usize) -> Result<Expr, String> {
        let name = self.name();
        if self.take('.') {
            let function = self.name();
            return Err(format!(
                "the function {name}.{function} is one of the template's own, which are not implemented"
            ));
        }
        self.want('(')?;
        let mut arguments = Vec::new();
        if !self.take(')') {
            loop {
                arguments.push(self.expression(depth)?);
                if self.take(')') {
                    break;
                }
                self.want(',')?;
            }
        }
        Ok(Expr::Call(name.to_ascii_lowercase(), arguments))
    }

    /// A text in single quotes; a quote within is written twice.
    fn quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let end = rest.find('\'').ok_or("a text has no closing quote")?;
            text.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(more) => {
                    text.push('\'');
                    rest = more;
                }
                None => {
                    self.rest = rest;
                    return Ok(text);
                }
            }
        }
    }

    fn number(&mut self) -> Result<Expr, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        number.parse().map(Expr::Number).map_err(|_| format!("{number:?} is no whole number"))
    }

    fn name(&mut self) -> &'t str {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip();
        self.rest.strip_prefix(wanted).inspect(|rest| self.rest = rest).is_some()
    }

    fn want(&mut self, wanted: char) -> Result<(), String> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected(&format!("{wanted:?}"))) }
    }

    fn unexpected(&self, wanted: &str) -> String {
        match self.rest.chars().next() {
            Some(found) => format!("{wanted} was expected and {found:?} found"),
            None => format!("{wanted} was expected and it ends"),
        }
    }
}
