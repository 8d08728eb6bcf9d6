//! A small reader of Rust that knows only what the rules need: it drops comments, literals and test code, and leaves
//! identifiers and punctuation. A parser would know more and would have to be kept up with the language.

use std::path::{Path, PathBuf};

use super::{CRATES, files, read, root};

/// How a crate names itself and those below it.
const ROOTS: [&str; 5] = ["crate", "gatepost_core", "gatepost_spool", "gatepost_net", "gatepost_lab"];

/// A Rust file: its text, and what is left of it without comments, literals and test code.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) literals: Vec<(usize, String)>,
    /// True for a file that is compiled only for tests.
    pub(crate) only_tests: bool,
    test_modules: Vec<TestModule>,
}

/// A module under `#[cfg(test)]` that is a file of its own, with the file of its `#[path]` attribute if it has one.
#[derive(Debug)]
struct TestModule {
    name: String,
    file: Option<String>,
}

/// An identifier, one punctuation mark, or a string literal with its quotes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Source {
    /// Every Rust file below a folder. Modules that exist only for tests keep their text and lose their tokens.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
        let mut sources: Vec<Self> =
            files(folder).iter().filter(|path| rust(path)).map(|path| Self::read(path)).collect();
        let tests: Vec<PathBuf> = sources.iter().flat_map(Self::test_paths).collect();
        for source in &mut sources {
            if tests.iter().any(|test| source.path.with_extension("").starts_with(test)) {
                source.only_tests = true;
                source.tokens.clear();
                source.literals.clear();
            }
        }
        sources
    }

    /// The sources of all crates.
    pub(crate) fn product() -> Vec<Self> {
        CRATES.into_iter().flat_map(Self::all).collect()
    }

    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(path.to_owned(), read(path))
    }

    pub(crate) fn parse(path: PathBuf, text: String) -> Self {
        let (tokens, literals) = lex(&text);
        let (tokens, skipped, test_modules) = without_tests(tokens);
        let outside = |line: &usize| !skipped.iter().any(|(first, last)| (first..=last).contains(&line));
        let literals = literals.into_iter().filter(|(line, _)| outside(line)).collect();
        Self { path, text, tokens, literals, only_tests: false, test_modules }
    }

    pub(crate) fn at(&self, line: usize, problem: &str) -> String {
        format!("{}:{line}: {problem}", self.path.display())
    }

    /// The folder of the sources of its crate.
    fn crate_folder(&self) -> &'static Path {
        let own = CRATES.into_iter().filter(|krate| self.path.starts_with(krate));
        Path::new(own.max_by_key(|krate| krate.len()).unwrap_or("src"))
    }

    /// The modules from the root of its crate to this one: `["spool", "reader"]`; empty for `lib.rs` and `main.rs`.
    pub(crate) fn module_path(&self) -> Vec<String> {
        let inside = self.path.strip_prefix(self.crate_folder()).unwrap_or(&self.path).with_extension("");
        let names = inside.iter().map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect()
    }

    /// The module of the table that it belongs to. The lab is one, whatever is inside.
    pub(crate) fn module(&self) -> Option<&str> {
        if self.crate_folder().starts_with("crates/lab") {
            return Some("lab");
        }
        let inside = self.path.strip_prefix(self.crate_folder()).ok()?;
        let first = Path::new(inside.iter().next()?).file_stem()?.to_str()?;
        (!["lib", "main"].contains(&first)).then_some(first)
    }

    /// The folder of its child modules.
    fn folder(&self) -> PathBuf {
        self.crate_folder().join(self.module_path().iter().collect::<PathBuf>())
    }

    /// Where its test modules are, without the extension.
    fn test_paths(&self) -> Vec<PathBuf> {
        let path = |module: &TestModule| match &module.file {
            Some(file) => self.path.with_file_name(file).with_extension(""),
            None => self.folder().join(&module.name),
        };
        self.test_modules.iter().map(path).collect()
    }

    /// The file that has to declare it, and the name it has there.
    pub(crate) fn parent(&self) -> Option<(PathBuf, String)> {
        let mut modules = self.module_path();
        let name = modules.pop()?;
        let folder: PathBuf = self.crate_folder().join(modules.iter().collect::<PathBuf>());
        let beside = folder.with_extension("rs");
        let candidates =
            if modules.is_empty() { [folder.join("lib.rs"), beside] } else { [folder.join("mod.rs"), beside] };
        candidates.into_iter().find(|path| root().join(path).is_file()).map(|path| (path, name))
    }

    /// The modules it declares as files of their own, with lines; not those for tests.
    pub(crate) fn declared_modules(&self) -> Vec<(usize, String)> {
        let three = self.tokens.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
        three.map(|three| (three[1].line, three[1].text.clone())).collect()
    }

    /// The top modules it names through `crate::`, or through enough `super::`.
    pub(crate) fn imports(&self) -> Vec<(usize, String)> {
        let text = |at: usize| self.tokens.get(at).map_or("", |token| token.text.as_str());
        let colons = |at: usize| text(at) == ":" && text(at + 1) == ":";
        let mut found = Vec::new();
        let mut braces = 0usize;
        let mut inline: Vec<usize> = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            match text(at) {
                "{" => {
                    braces += 1;
                    if at >= 2 && text(at - 2) == "mod" {
                        inline.push(braces);
                    }
                }
                "}" => {
                    inline.pop_if(|opened| *opened == braces);
                    braces = braces.saturating_sub(1);
                }
                // What the lab names of its own is no module of the table.
                "crate" | "super" if self.module() == Some("lab") => {}
                head if ROOTS.contains(&head) && colons(at + 1) => found.extend(self.heads(at + 3)),
                "super" if at == 0 || text(at - 1) != ":" => {
                    let mut climbed = 1;
                    while colons(at + 1) && text(at + 3) == "super" {
                        climbed += 1;
                        at += 3;
                    }
                    if colons(at + 1) && climbed == self.module_path().len() + inline.len() {
                        found.extend(self.heads(at + 3));
                    }
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// The first names of the path or the group of paths that begins here.
    fn heads(&self, at: usize) -> Vec<(usize, String)> {
        let tokens = &self.tokens[at.min(self.tokens.len())..];
        let name = |token: &Token| (token.line, token.text.clone());
        let Some(first) = tokens.first() else { return Vec::new() };
        if first.text != "{" {
            let is_macro = tokens.get(1).is_some_and(|next| next.text == "!");
            return if is_macro { Vec::new() } else { vec![name(first)] };
        }
        let mut found = Vec::new();
        let mut depth = 0usize;
        for pair in tokens.windows(2) {
            match pair[0].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            let opens = depth == 1 && ["{", ","].contains(&pair[0].text.as_str());
            if opens && !["}", "self"].contains(&pair[1].text.as_str()) {
                found.push(name(&pair[1]));
            }
        }
        found
    }
}

/// Splits the text into identifiers and punctuation on one side and string literals on the other, with their lines.
fn lex(text: &str) -> (Vec<Token>, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars, at: 0, line: 1, tokens: Vec::new(), literals: Vec::new() };
    while lexer.at < lexer.chars.len() {
        lexer.step();
    }
    (lexer.tokens, lexer.literals)
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    literals: Vec<(usize, String)>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let c = self.peek(0);
        self.at += 1;
        self.line += usize::from(c == '\n');
        c
    }

    fn more(&self) -> bool {
        self.at < self.chars.len()
    }

    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.more() && self.peek(0) != '\n' {
                    self.bump();
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (c, _) if c.is_alphanumeric() || c == '_' => self.word(),
            (c, _) => {
                let line = self.line;
                self.bump();
                if !c.is_whitespace() {
                    self.tokens.push(Token { text: c.to_string(), line });
                }
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0usize;
        while self.more() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.bump();
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let line = self.line;
        let mut literal = String::new();
        self.bump();
        while self.more() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                literal.push(self.bump());
            }
            literal.push(self.bump());
        }
        self.bump();
        self.tokens.push(Token { text: format!("\"{literal}\""), line });
        self.literals.push((line, literal));
    }

    fn raw_string(&mut self, hashes: usize) {
        let line = self.line;
        let mut literal = String::new();
        self.at += hashes + 1;
        let closes = |lexer: &Self| lexer.peek(0) == '"' && (1..=hashes).all(|ahead| lexer.peek(ahead) == '#');
        while self.more() && !closes(self) {
            literal.push(self.bump());
        }
        self.at += hashes + 1;
        self.tokens.push(Token { text: format!("\"{literal}\""), line });
        self.literals.push((line, literal));
    }

    /// A character literal is dropped; of a lifetime only the quote is.
    fn quote(&mut self) {
        self.bump();
        if self.peek(0) == '\\' {
            self.bump();
            self.bump();
            while self.more() && self.peek(0) != '\'' {
                self.bump();
            }
            self.bump();
        } else if self.peek(1) == '\'' {
            self.bump();
            self.bump();
        }
    }

    fn word(&mut self) {
        let line = self.line;
        let mut text = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            text.push(self.bump());
        }
        if ["r", "br", "cr"].contains(&text.as_str()) {
            let hashes = (0..).take_while(|ahead| self.peek(*ahead) == '#').count();
            if self.peek(hashes) == '"' {
                return self.raw_string(hashes);
            }
        }
        // The prefix of a literal says nothing by itself.
        if !(["b", "c"].contains(&text.as_str()) && ['"', '\''].contains(&self.peek(0))) {
            self.tokens.push(Token { text, line });
        }
    }
}

type Lines = (usize, usize);

/// Takes out every item under `#[cfg(test)]`. Returns the rest, the lines taken out, and the names of test modules that
/// are files of their own.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<Lines>, Vec<TestModule>) {
    let starts = |at: usize, words: &[&str]| {
        tokens.len() >= at + words.len() && words.iter().zip(&tokens[at..]).all(|(word, token)| token.text == *word)
    };
    let (mut kept, mut skipped, mut modules) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if starts(at, &["#", "!", "[", "cfg", "(", "test", ")", "]"]) {
            return (Vec::new(), vec![(1, usize::MAX)], modules);
        }
        if !starts(at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = end_of_item(&tokens, at);
        let item = &tokens[at..end];
        if let Some(three) = item.windows(3).find(|three| three[0].text == "mod" && three[2].text == ";") {
            let path = item.windows(3).find(|three| three[0].text == "path" && three[1].text == "=");
            let file = path.map(|three| three[2].text.trim_matches('"').to_owned());
            modules.push(TestModule { name: three[1].text.clone(), file });
        }
        skipped.push((tokens[at].line, item.last().map_or(tokens[at].line, |token| token.line)));
        at = end;
    }
    (kept, skipped, modules)
}

/// The position after the item that begins here with its attributes: after its `;` or its closing brace.
fn end_of_item(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            // The block around it ends: the last field or arm of something.
            "}" | ")" | "]" if depth == 0 => return at,
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
