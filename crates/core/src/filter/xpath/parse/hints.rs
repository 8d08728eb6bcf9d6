//! What to write instead, for the mistakes that people are known to make.
//!
//! They come from published queries that never worked, from Microsoft's own samples, from other dialects (full XPath, SQL,
//! PowerShell) and from what editors and portals do to a text on its way.

use super::lexer::{Lexer, Word};
use super::shortened;
use crate::filter::xpath::ast::Op;

pub(super) const EMPTY_QUERY: &str = "the query is empty; write `*` to take every event";
pub(super) const OPERAND: &str = "a path such as `EventID` or `@Name`, or a function";
pub(super) const BEGIN: &str = "begin with `*[…]` or `Event[…]`, such as `*[System[EventID=4624]]`";
pub(super) const NO_EVENT: &str =
    "the event is missing before the bracket: write `*[…]`, such as `*[System[EventID=4624]]`";
const BEHIND_EVENT: &str =
    "`*` is the event; what it must hold stands in brackets behind it, such as `*[EventData[…]]`";
pub(super) const SELECTS_NO_EVENTS: &str = "the query selects no events";
pub(super) const BAND: &str = "write such as `band(Keywords, 0x8020000000000000)`";
pub(super) const TIMEDIFF: &str =
    "write such as `timediff(@SystemTime) <= 86400000` or `timediff(@SystemTime, '2025-01-31T00:00:00Z') > 0`";
pub(super) const BARE_TIMEDIFF: &str =
    "timediff gives milliseconds, which are true of nothing; compare them, such as `timediff(@SystemTime) <= 86400000`";
pub(super) const BARE_POSITION: &str =
    "position gives a number, which is true of nothing; compare it, such as `Data[position()=1]`, or write `Data[1]`";
pub(super) const POSITION_OF_EVENT: &str = "position counts the elements of a path; write it in brackets behind one, such as `*[EventData/Data[position()=1]]`";
pub(super) const NESTED_FUNCTION: &str = "a function is about a path, not about another function";
pub(super) const DESCENDANT: &str =
    "`//` is not in the language of Windows event queries; write every step, such as `*[EventData/Data]`";
pub(super) const ABSOLUTE: &str =
    "a path does not begin with `/`; write `*[…]` for the event, or the name alone inside it";
pub(super) const EMPTY: &str = "write the value, such as `EventID=4624`, or remove the comparison";
pub(super) const TWO_OPERATORS: &str = "expected a value, found a second operator; write operators without a space inside: \
                                        `=`, `!=`, `<`, `<=`, `>`, `>=`";
pub(super) const NODE_ON_THE_RIGHT: &str =
    "on the right of a comparison stands a constant, not a path; a value in quotes or a number was expected";

pub(super) const LONE_EXCLAMATION_MARK: &str = "`!` alone is no operator: write `!=` for \"is not\"; a channel before the query, `Security!*`, belongs only where a \
     channel is asked for, as in data collection rules";

const FUNCTIONS: &str = "Windows event queries know only the functions position, band and timediff";
const ARITHMETIC: &str = "Windows event queries do not calculate; compare with the result, such as `EventID=4624`";

/// What a word is called in a message.
pub(super) fn found(word: Word<'_>) -> String {
    match word {
        Word::Name(text) | Word::Number(text) => format!("`{}`", shortened(text)),
        Word::Quoted(text) => quote(text),
        Word::Op(op) => format!("`{op}`"),
        Word::Sign(sign) => format!("`{sign}`"),
        Word::Axis => "`::`".to_owned(),
        Word::End => "the end of the query".to_owned(),
    }
}

pub(super) fn quote(text: &str) -> String {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    format!("{quote}{}{quote}", shortened(text))
}

pub(super) fn is_keyword(name: &str) -> bool {
    name.eq_ignore_ascii_case("and") || name.eq_ignore_ascii_case("or")
}

/// A character that begins no word.
pub(super) fn foreign(text: &str, first: char) -> String {
    const ESCAPES: [(&str, &str); 5] =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "and")];
    if let Some((escaped, plain)) = ESCAPES.iter().find(|(escaped, _)| text.starts_with(escaped)) {
        return format!("write `{plain}`, not `{escaped}`; operators are escaped only inside XML");
    }
    let two = &text[..text.ceil_char_boundary(2)];
    let hint = match (two, first) {
        ("&&", _) => "write `and`, not `&&`",
        ("||", _) => "write `or`, not `||`",
        ("..", _) => {
            "paths only go down; write the condition at the element above, such as `*[System[…] and EventData[…]]`"
        }
        (_, '.') => "`.` is not in the language; name the element itself, such as `Data='x'`",
        (_, '+' | '-') => ARITHMETIC,
        (_, '|') => "`|` joins no paths here; write `or`",
        (_, '$') => "there are no variables; write the value itself",
        (_, '‘' | '’' | '‚' | '“' | '”' | '„' | '«' | '»' | '′' | '″' | '`' | '´') => {
            "write straight quotes, ' or \""
        }
        (_, '–' | '—' | '−' | '‑') => "write the plain hyphen, -",
        (_, '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{3000}') => "this is no plain space; write one",
        (_, '\u{feff}' | '\u{200b}'..='\u{200f}') => "remove this character, which cannot be seen",
        (_, '~' | '^') => "there is no such operator; known are `=`, `!=`, `<`, `<=`, `>`, `>=`",
        (_, '\\') => "put text in quotes",
        (_, ':') => "namespaces are not supported; write the local name alone",
        (_, '≤' | '≥' | '≠') => "write `<=`, `>=` or `!=`",
        _ => "no word of a query begins so",
    };
    if first.is_control() || matches!(first, '\u{a0}' | '\u{feff}' | '\u{200b}'..='\u{200f}') {
        format!("unexpected character U+{:04X}; {hint}", u32::from(first))
    } else {
        format!("unexpected `{first}`; {hint}")
    }
}

/// An operator of another language, in the first two characters.
pub(super) fn foreign_operator(two: &str) -> Option<&'static str> {
    match two {
        "==" => Some("write `=`, not `==`"),
        "<>" => Some("write `!=`, not `<>`"),
        "=<" => Some("write `<=`, not `=<`"),
        "=>" => Some("write `>=`, not `=>`"),
        _ => None,
    }
}

pub(super) fn open_quote(quote: char) -> String {
    format!("this quote is not closed; another {quote} was expected before the end of the query")
}

pub(super) fn prefix(prefix: &str, rest: &str) -> String {
    let local = rest.split(|character| !super::lexer::continues_name(character)).next().unwrap_or_default();
    let local = if local.is_empty() { "Data" } else { local };
    format!("namespaces are not supported: write the local name, `{local}`, without `{}:`", shortened(prefix))
}

/// A function that does not exist.
pub(super) fn function(name: &str) -> String {
    let instead = match name.to_ascii_lowercase().as_str() {
        "contains" | "starts-with" | "ends-with" | "matches" | "substring" | "substring-before" | "substring-after" => {
            "parts of a text cannot be searched: compare the whole value, such as `Data[@Name='LogonType']='3'`"
        }
        "not" => "write `!=`, such as `EventID!=4624`, or `Suppress` in a QueryList",
        "last" => "positions are counted from the front: `Data[1]`",
        "count" => "to ask whether an element exists, name it: `*[EventData/Data]`",
        "true" | "false" | "boolean" => "a path alone asks whether it exists",
        "node" | "comment" | "processing-instruction" => "a step is a name, `*` or `text()`",
        "name" | "local-name" => "write the element's name as a step: `*[UserData/EventXML]`",
        "string" | "number" | "string-length" | "normalize-space" | "translate" | "lower-case" | "upper-case" => {
            "compare the path itself, such as `Data='x'`"
        }
        "and" | "or" => "an operand is missing before it",
        _ => "names and paths stand without parentheses",
    };
    format!("`{}()` does not exist: {FUNCTIONS}; {instead}", shortened(name))
}

pub(super) fn axis(name: &str) -> String {
    format!("there is no axis `{}`: paths go to children (`child::` or nothing) and attributes (`@`)", shortened(name))
}

/// A query whose first path begins with this name; `text` begins there too.
pub(super) fn no_event(name: &str, text: &str) -> String {
    let (head, tail) = text.split_at(text.find(['*', '[', '=', '\'', '"']).unwrap_or(text.len()));
    let head = head.trim_end();
    if name.eq_ignore_ascii_case("event") {
        format!("names are case-sensitive: write `Event`, not `{name}`")
    } else if let Some(channel) = head.strip_suffix('!') {
        format!("only an XPath is asked for here; leave the channel `{}!` away", shortened(channel))
    } else if tail.starts_with('*') && !head.ends_with('/') {
        let head = shortened(head);
        format!("{SELECTS_NO_EVENTS}; if `{head}` is a channel, write `!` behind it: `{head}!*[…]`")
    } else {
        format!("{SELECTS_NO_EVENTS}; {BEGIN}: what an event must hold stands in the brackets")
    }
}

/// A constant where an operand belongs. `rest` reads what follows it.
pub(super) fn constant_first(constant: &str, mut rest: Lexer<'_>) -> String {
    let swapped = match (rest.next(), rest.next()) {
        (Ok((_, Word::Op(op))), Ok((_, Word::Name(name)))) => {
            let op = match op {
                Op::Lt => Op::Gt,
                Op::Le => Op::Ge,
                Op::Gt => Op::Lt,
                Op::Ge => Op::Le,
                same => same,
            };
            format!("{}{op}{constant}", shortened(name))
        }
        _ => "EventID=4624".to_owned(),
    };
    format!("a constant cannot stand on the left of a comparison (or alone); write `{swapped}`")
}

pub(super) fn no_number(text: &str) -> String {
    format!("`{}` is no number; numbers are decimal or 0x…, everything else stands in quotes", shortened(text))
}

pub(super) fn name_on_the_right(name: &str, next: Option<Word<'_>>) -> String {
    match next {
        Some(Word::Sign('/' | '[')) => NODE_ON_THE_RIGHT.to_owned(),
        Some(Word::Sign('(')) => {
            format!("on the right of a comparison stands a constant, not a function; {}", function_on_the_right(name))
        }
        _ if is_keyword(name) => format!("expected a value to compare with, found `{name}`; {EMPTY}"),
        _ => format!("`{0}` stands without quotes; put text in quotes: '{0}'", shortened(name)),
    }
}

fn function_on_the_right(name: &str) -> &'static str {
    if ["position", "band", "timediff"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
        "write the function on the left"
    } else {
        FUNCTIONS
    }
}

/// A word where `and`, `or` or a closing bracket should stand. `before` is the query up to it.
pub(super) fn after_operand(word: Word<'_>, before: &str) -> Option<&'static str> {
    match word {
        Word::Name(name) if before.ends_with('*') && EVENT_PARTS.contains(&name) => Some(BEHIND_EVENT),
        Word::Sign('*') => Some(ARITHMETIC),
        Word::Number(text) if text.starts_with('-') => Some(ARITHMETIC),
        Word::Name("div" | "mod") => Some(ARITHMETIC),
        Word::Name(name) if other_operator(name) => {
            Some("the operators are `=`, `!=`, `<`, `<=`, `>`, `>=`, and conditions are joined with `and` or `or`")
        }
        Word::Name(_) | Word::Number(_) | Word::Quoted(_) | Word::Sign('@' | '(') => {
            Some("an operator is missing before it")
        }
        Word::Op(_) => Some("compare one path or function with one constant, and join comparisons with `and` or `or`"),
        Word::Sign(',') => Some("only functions take several arguments; join conditions with `and` or `or`"),
        Word::Sign('[') => Some("brackets stand directly behind a step of a path"),
        Word::Sign('/') => Some("a path goes on only behind a name, `*` or a bracket that belongs to it"),
        Word::Axis | Word::Sign(_) | Word::End => None,
    }
}

/// The elements that people write behind `*` without a bracket.
const EVENT_PARTS: [&str; 4] = ["System", "EventData", "UserData", "RenderingInfo"];

fn other_operator(name: &str) -> bool {
    ["eq", "ne", "lt", "le", "gt", "ge", "is", "in", "like", "not", "contains", "between", "xor"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

/// A channel without a query.
pub(super) fn no_query(channel: &str) -> String {
    format!("the XPath is missing behind the channel; `{}!*` takes every event of it", shortened(channel))
}

/// A query for a channel without the mark between the two.
pub(super) fn no_exclamation_mark(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "the query is empty; write a channel, `!` and an XPath, such as `Security!*`".to_owned();
    }
    let event = text.strip_prefix("Event").is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '/']));
    if event || text.starts_with(['*', '(', '/']) {
        return "the channel is missing: this is an XPath alone; write the channel and `!` before it, such as \
                `Security!*[System[EventID=4624]]`"
            .to_owned();
    }
    let channel = text.split(['*', '[', '=']).next().unwrap_or_default().trim();
    let channel = if channel.is_empty() { "Security".into() } else { shortened(channel) };
    let mut hint =
        format!("`!` is missing between the channel and the XPath; write such as `{channel}!*[System[EventID=4624]]`");
    if text.contains("&lt;") || text.contains("&gt;") {
        hint.push_str(", and `<` and `>`, not `&lt;` and `&gt;`");
    }
    hint
}
