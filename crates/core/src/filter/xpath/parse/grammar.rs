//! From words to tree: one function for each rule of the language.

use super::super::ast::{Axis, Expr, LocationPath, NodeTest, Op, Operand, Step};
use super::super::literal::Literal;
use super::lexer::{Lexer, Word};
use super::{MAX_NESTING, MAX_QUERY_BYTES, MAX_STEPS, QueryError, hints, shortened};

/// Reads the query that begins at `start`; offsets in errors count from the beginning of `text`.
pub(super) fn query(text: &str, start: usize) -> Result<Expr, QueryError> {
    let length = text.len() - start;
    if length > MAX_QUERY_BYTES {
        let message = format!("the query has {length} bytes; at most {MAX_QUERY_BYTES} are taken: split it");
        return Err(QueryError::new(start + MAX_QUERY_BYTES, message));
    }
    let mut lexer = Lexer::new(text, start);
    let (at, word) = lexer.next()?;
    if word == Word::End {
        return Err(QueryError::new(at, hints::EMPTY_QUERY));
    }
    let mut parser = Parser { lexer, at, word, open: Vec::new(), predicates: 0 };
    let expr = parser.either()?;
    if parser.word == Word::End { Ok(expr) } else { Err(parser.after_operand()) }
}

struct Parser<'q> {
    lexer: Lexer<'q>,
    /// Where the current word begins.
    at: usize,
    word: Word<'q>,
    /// Where the brackets and parentheses stand that are open, and what closes them.
    open: Vec<(usize, char)>,
    /// How many of those are predicates: inside one, a path begins anywhere, outside at the event.
    predicates: usize,
}

impl<'q> Parser<'q> {
    fn advance(&mut self) -> Result<(), QueryError> {
        (self.at, self.word) = self.lexer.next()?;
        Ok(())
    }

    fn is_sign(&self, sign: char) -> bool {
        self.word == Word::Sign(sign)
    }

    fn take_sign(&mut self, sign: char) -> Result<bool, QueryError> {
        let found = self.is_sign(sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn take_keyword(&mut self, keyword: &str) -> Result<bool, QueryError> {
        let found = matches!(self.word, Word::Name(name) if name.eq_ignore_ascii_case(keyword));
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError::new(self.at, message))
    }

    fn either(&mut self) -> Result<Expr, QueryError> {
        let first = self.all()?;
        let mut terms = vec![first];
        while self.take_keyword("or")? {
            terms.push(self.all()?);
        }
        Ok(one_or(terms, Expr::Or))
    }

    fn all(&mut self) -> Result<Expr, QueryError> {
        let first = self.term()?;
        let mut terms = vec![first];
        while self.take_keyword("and")? {
            terms.push(self.term()?);
        }
        Ok(one_or(terms, Expr::And))
    }

    fn term(&mut self) -> Result<Expr, QueryError> {
        if self.is_sign('(') {
            self.enter(')')?;
            let inside = self.either()?;
            self.leave()?;
            return Ok(inside);
        }
        let start = self.at;
        let operand = self.operand()?;
        if let Word::Op(op) = self.word {
            self.advance()?;
            return Ok(Expr::Compare(operand, op, self.literal()?));
        }
        match operand {
            Operand::TimeDiff(..) => Err(QueryError::new(start, hints::BARE_TIMEDIFF)),
            Operand::Position => Err(QueryError::new(start, hints::BARE_POSITION)),
            operand => Ok(Expr::Holds(operand)),
        }
    }

    fn operand(&mut self) -> Result<Operand, QueryError> {
        let next = self.lexer.peek();
        match self.word {
            Word::Name(name) if next == Some(Word::Sign('(')) && name != "text" => self.function(name),
            Word::Name(name) if hints::is_keyword(name) && !may_follow_path(next) => {
                self.fail(format!("an operand is missing before `{name}`; {}", hints::OPERAND))
            }
            Word::Name(_) | Word::Sign('*' | '@') => self.path().map(Operand::Path),
            Word::Number(constant) => self.fail(hints::constant_first(constant, self.lexer.clone())),
            Word::Quoted(constant) => self.fail(hints::constant_first(&hints::quote(constant), self.lexer.clone())),
            Word::Sign('/') => {
                self.fail(if next == Some(Word::Sign('/')) { hints::DESCENDANT } else { hints::ABSOLUTE })
            }
            Word::Sign(')' | ']') => self.fail(self.nothing_inside()),
            Word::Sign('[') if self.predicates == 0 => self.fail(hints::NO_EVENT),
            _ => self.fail(format!("expected {}, found {}", hints::OPERAND, self.found())),
        }
    }

    fn function(&mut self, name: &str) -> Result<Operand, QueryError> {
        let known = ["position", "band", "timediff"].iter().position(|known| name.eq_ignore_ascii_case(known));
        if known.is_none() {
            return self.fail(hints::function(name));
        }
        let at = self.at;
        self.advance()?;
        self.enter(')')?;
        let operand = match known {
            Some(0) if self.predicates == 0 => return Err(QueryError::new(at, hints::POSITION_OF_EVENT)),
            Some(0) => Operand::Position,
            Some(1) => self.band()?,
            _ => self.time_difference()?,
        };
        self.leave()?;
        Ok(operand)
    }

    fn band(&mut self) -> Result<Operand, QueryError> {
        let path = self.argument()?;
        if !self.take_sign(',')? {
            return self.fail(format!("expected `,` and a mask, found {}; {}", self.found(), hints::BAND));
        }
        let Word::Number(text) = self.word else {
            return self.fail(format!("expected a mask without quotes, found {}; {}", self.found(), hints::BAND));
        };
        match mask(text) {
            Some(mask) => {
                self.advance()?;
                Ok(Operand::Band(path, mask))
            }
            None => self.fail(format!("`{}` is no mask of 64 bits; {}", shortened(text), hints::BAND)),
        }
    }

    fn time_difference(&mut self) -> Result<Operand, QueryError> {
        let path = self.argument()?;
        if !self.take_sign(',')? {
            return Ok(Operand::TimeDiff(path, None));
        }
        let Word::Quoted(time) = self.word else {
            return self.fail(format!("expected a time in quotes, found {}; {}", self.found(), hints::TIMEDIFF));
        };
        self.advance()?;
        Ok(Operand::TimeDiff(path, Some(Literal::quoted(time))))
    }

    /// The path that a function is about.
    fn argument(&mut self) -> Result<LocationPath, QueryError> {
        let start = self.at;
        match self.operand()? {
            Operand::Path(path) => Ok(path),
            _ => Err(QueryError::new(start, hints::NESTED_FUNCTION)),
        }
    }

    fn path(&mut self) -> Result<LocationPath, QueryError> {
        if self.predicates == 0 {
            self.check_event()?;
        }
        let mut steps = vec![self.step()?];
        while self.take_sign('/')? {
            if self.is_sign('/') {
                return self.fail(hints::DESCENDANT);
            }
            if steps.len() == MAX_STEPS {
                return self.fail(format!("the path has more than {MAX_STEPS} steps; no event is so deep"));
            }
            steps.push(self.step()?);
        }
        Ok(LocationPath { steps })
    }

    /// A path outside of all predicates begins at the events, or the query selects none.
    fn check_event(&self) -> Result<(), QueryError> {
        let mut lexer = self.lexer.clone();
        let (at, step) = match self.word {
            Word::Name("child") if lexer.peek() == Some(Word::Axis) => {
                lexer.next()?;
                lexer.next()?
            }
            word => (self.at, word),
        };
        match step {
            Word::Sign('*') | Word::Name("Event") => Ok(()),
            Word::Name(name) => self.fail(hints::no_event(name, &self.lexer.text[at..])),
            _ => self.fail(format!("{}; {}", hints::SELECTS_NO_EVENTS, hints::BEGIN)),
        }
    }

    fn step(&mut self) -> Result<Step, QueryError> {
        let axis = self.axis()?;
        let test = match self.word {
            Word::Sign('*') => NodeTest::Any,
            Word::Name("text") if axis == Axis::Child => NodeTest::Text,
            Word::Name(name) if self.lexer.peek() == Some(Word::Sign('(')) => return self.fail(hints::function(name)),
            Word::Name(name) => NodeTest::Name(name.into()),
            _ => return self.fail(format!("expected a name or `*`, found {}", self.found())),
        };
        self.advance()?;
        if test == NodeTest::Text && self.take_sign('(')? && !self.take_sign(')')? {
            return self.fail(format!("expected `)`, found {}", self.found()));
        }
        let mut predicates = Vec::new();
        while self.is_sign('[') {
            predicates.push(self.predicate()?);
        }
        Ok(Step { axis, test, predicates })
    }

    fn axis(&mut self) -> Result<Axis, QueryError> {
        if self.take_sign('@')? {
            return Ok(Axis::Attribute);
        }
        let Word::Name(name) = self.word else { return Ok(Axis::Child) };
        if self.lexer.peek() != Some(Word::Axis) {
            return Ok(Axis::Child);
        }
        let axis = match name {
            "child" => Axis::Child,
            "attribute" => Axis::Attribute,
            _ => return self.fail(hints::axis(name)),
        };
        self.advance()?;
        self.advance()?;
        Ok(axis)
    }

    fn predicate(&mut self) -> Result<Expr, QueryError> {
        self.enter(']')?;
        self.predicates += 1;
        let inside = match self.word {
            Word::Number(text) if self.lexer.peek() == Some(Word::Sign(']')) => self.place(text)?,
            _ => self.either()?,
        };
        self.predicates -= 1;
        self.leave()?;
        Ok(inside)
    }

    /// `[3]`, short for `position() = 3`.
    fn place(&mut self, text: &str) -> Result<Expr, QueryError> {
        match Literal::number(text).filter(|_| is_place(text)) {
            Some(place) => {
                self.advance()?;
                Ok(Expr::Compare(Operand::Position, Op::Eq, place))
            }
            None => {
                self.fail(format!("`[{}]` is no position; they are whole numbers and count from 1", shortened(text)))
            }
        }
    }

    fn literal(&mut self) -> Result<Literal, QueryError> {
        let literal = match self.word {
            Word::Quoted(text) => Literal::quoted(text),
            Word::Number(text) => match Literal::number(text) {
                Some(literal) => literal,
                None => return self.fail(hints::no_number(text)),
            },
            Word::Name(name) => return self.fail(hints::name_on_the_right(name, self.lexer.peek())),
            Word::Sign('@' | '*' | '(' | '/') => return self.fail(hints::NODE_ON_THE_RIGHT),
            Word::Op(_) => return self.fail(hints::TWO_OPERATORS),
            _ => {
                return self.fail(format!(
                    "expected a value to compare with, found {}; {}",
                    self.found(),
                    hints::EMPTY
                ));
            }
        };
        self.advance()?;
        Ok(literal)
    }

    /// Goes behind the bracket that is the current word; [`Parser::leave`] expects `close`.
    fn enter(&mut self, close: char) -> Result<(), QueryError> {
        if !self.is_sign(if close == ')' { '(' } else { '[' }) {
            return self.fail(format!("expected `(`, found {}", self.found()));
        }
        if self.open.len() == MAX_NESTING {
            return self
                .fail(format!("more than {MAX_NESTING} brackets and parentheses stand in one another; nest less"));
        }
        self.open.push((self.at, close));
        self.advance()
    }

    fn leave(&mut self) -> Result<(), QueryError> {
        match self.open.last() {
            Some((_, close)) if self.is_sign(*close) => {
                self.open.pop();
                self.advance()
            }
            _ => Err(self.after_operand()),
        }
    }

    /// What is wrong with the current word where an operand was complete.
    fn after_operand(&self) -> QueryError {
        let expected = match self.open.last() {
            None => "`and`, `or` or the end of the query".to_owned(),
            Some((_, close)) => format!("`and`, `or` or `{close}`"),
        };
        let mut message = format!("expected {expected}, found {}", self.found());
        if let Some(hint) = hints::after_operand(self.word, &self.lexer.text[..self.at]) {
            message.push_str("; ");
            message.push_str(hint);
        } else if matches!(self.word, Word::End | Word::Sign(')' | ']')) {
            message.push_str("; ");
            message.push_str(&self.unclosed());
        }
        QueryError::new(self.at, message)
    }

    fn nothing_inside(&self) -> String {
        match self.open.last() {
            Some(_) => format!("expected {}, found {}", hints::OPERAND, self.found()),
            None => format!("{} closes nothing", self.found()),
        }
    }

    /// Which bracket waits for its counterpart.
    fn unclosed(&self) -> String {
        match self.open.last() {
            Some((at, close)) => {
                let text = self.lexer.text;
                let open = if *close == ')' { '(' } else { '[' };
                format!("the `{open}` at character {} is not closed", text[..*at].chars().count() + 1)
            }
            None => "nothing is open here: remove it".to_owned(),
        }
    }

    fn found(&self) -> String {
        hints::found(self.word)
    }
}

fn one_or(mut terms: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        last => {
            terms.extend(last);
            join(terms)
        }
    }
}

/// Whether this is a number that `[…]` takes as a position.
pub(in super::super) fn is_place(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok_and(|place| place > 0)
}

/// Whether a path can be complete before this word, so that an element called `and` is one.
fn may_follow_path(next: Option<Word<'_>>) -> bool {
    match next {
        Some(Word::Op(_) | Word::Axis | Word::End | Word::Sign(')' | ']' | '[' | '/' | ',')) => true,
        Some(Word::Name(name)) => hints::is_keyword(name),
        _ => false,
    }
}

fn mask(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}
